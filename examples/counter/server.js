// A server of its own: it counts calls in memory, and tells everybody who listens at /events.
const http = require('node:http');

let count = 0;
const listeners = new Set();

const page = `<!doctype html>
<meta charset="utf-8">
<title>counter</title>
<style>body { font: 20vmin system-ui; display: grid; place-items: center; min-height: 90vh; margin: 0 }</style>
<button onclick="fetch(base, { method: 'POST' })" style="font: inherit">…</button>
<script>
  const base = location.pathname.replace(/\\/?$/, '/');
  new EventSource(base + 'events').onmessage = (event) => {
    document.querySelector('button').textContent = event.data;
  };
</script>
`;

const server = http.createServer((request, response) => {
  const { pathname } = new URL(request.url, 'http://localhost');
  request.resume();
  if (pathname === '/events' && request.method === 'GET') return listen(response);
  if (pathname !== '/') return answer(response, 404, 'text/plain', 'not found\n');
  if (request.method === 'POST') return answer(response, 200, 'application/json', JSON.stringify({ count: add() }) + '\n');
  if (request.method === 'GET') return answer(response, 200, 'text/html; charset=utf-8', page);
  response.setHeader('Allow', 'GET, POST');
  answer(response, 405, 'text/plain', 'GET the page, or POST to count\n');
});

function add() {
  count += 1;
  for (const listener of listeners) listener.write(`data: ${count}\n\n`);
  return count;
}

function listen(response) {
  response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
  response.write(`data: ${count}\n\n`);
  listeners.add(response);
  response.on('close', () => listeners.delete(response));
}

function answer(response, status, type, body) {
  response.writeHead(status, { 'Content-Type': type, 'Content-Length': Buffer.byteLength(body) });
  response.end(body);
}

server.listen(process.env.PORT);

process.on('SIGTERM', () => {
  server.close(() => process.exit(0));
  for (const listener of listeners) listener.end();
});
