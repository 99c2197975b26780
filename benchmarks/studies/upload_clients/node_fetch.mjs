// Uploads with Node's fetch. The arguments and the output are those of every client of benchmarks/studies/uploads.py.
const [url, method, header, value, ...plan] = process.argv.slice(2);
for (const each of plan) {
  const [size, count] = each.split("x").map(Number);
  const body = Buffer.alloc(size, "x");
  for (let i = 0; i < count; i++) {
    let result;
    try {
      const response = await fetch(url, {
        method,
        body,
        headers: header ? { [header]: value } : {},
        signal: AbortSignal.timeout(30_000),
      });
      await response.arrayBuffer();
      result = response.status;
    } catch (error) {
      const cause = error.cause ?? error;
      result = `${cause.code ?? cause.name} ${cause.message}`;
    }
    console.log(`${size} ${result}`);
  }
}
process.exit();
