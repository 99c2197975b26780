import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.Arrays;

/** Uploads with java.net.http. The arguments and the output are those of every client of benchmarks/studies/uploads.py. */
class Upload {
    public static void main(String[] arguments) {
        var client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
        for (var each : Arrays.copyOfRange(arguments, 4, arguments.length)) {
            var plan = each.split("x");
            var body = new byte[Integer.parseInt(plan[0])];
            Arrays.fill(body, (byte) 'x');
            for (int i = Integer.parseInt(plan[1]); i > 0; i--) {
                String result;
                try {
                    var request = HttpRequest.newBuilder(URI.create(arguments[0])).timeout(Duration.ofSeconds(30))
                            .method(arguments[1], HttpRequest.BodyPublishers.ofByteArray(body));
                    if (!arguments[2].isEmpty()) request.header(arguments[2], arguments[3]);
                    result = "" + client.send(request.build(), HttpResponse.BodyHandlers.ofByteArray()).statusCode();
                } catch (Exception error) {
                    result = error.toString().replace('\n', ' ');
                }
                System.out.println(plan[0] + " " + result);
            }
        }
        System.exit(0);
    }
}
