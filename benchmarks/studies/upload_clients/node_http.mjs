// Streamed uploads with Node's http. The arguments and the output are those of every client of
// benchmarks/studies/uploads.py.
import http from "node:http";
import { Readable } from "node:stream";

const [url, method, header, value, ...plan] = process.argv.slice(2);
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
const piece = Buffer.alloc(65536, "x");

function* pieces(size) {
  for (let left = size; left > 0; left -= piece.length) yield piece.subarray(0, left);
}

// The status, when the response has come and the body was sent, unless the response is an error: then nobody needs the rest.
function upload(size) {
  return new Promise((resolve, reject) => {
    const headers = { "Content-Length": size };
    if (header) headers[header] = value;
    const request = http.request(url, { method, agent, headers, timeout: 30_000 });
    let status, complete;
    const done = () => complete && (status >= 400 || request.writableFinished) && resolve(status);
    request.on("response", (response) => {
      status = response.statusCode;
      response.on("error", reject);
      response.on("end", () => {
        complete = true;
        done();
      });
      response.resume();
    });
    request.on("finish", done);
    request.on("error", reject);
    request.on("close", () => reject(new Error("closed before the body was sent")));
    request.on("timeout", () => request.destroy(new Error("no progress")));
    Readable.from(pieces(size)).pipe(request);
  });
}

for (const each of plan) {
  const [size, count] = each.split("x").map(Number);
  for (let i = 0; i < count; i++) {
    console.log(`${size} ${await upload(size).catch((error) => `${error.code ?? error.name} ${error.message}`)}`);
  }
}
process.exit();
