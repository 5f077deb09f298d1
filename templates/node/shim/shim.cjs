// Turns an HTTP call into a call of handler.js, on $HOB_SOCKET or else on $HOST:$PORT.
//
// The handler is `module.exports = …` or `export default …`, called with (req) or, in the OpenFaaS
// form, with (event, context). It may be async, and returns text, a Buffer, a stream or an async
// generator, a web Response, { statusCode, headers, body }, or anything else, which goes out as JSON.
'use strict';
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');

const TEXT = 'text/plain; charset=utf-8';
const NAME = process.env.HOB_FUNCTION;

function refuse(response, status, line) {
  if (response.headersSent) return response.destroy(); // the caller must see that it is not whole
  response.writeHead(status, { 'Content-Type': TEXT }).end(`${line}\n`);
}

async function readEvent(request) {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  const rawBody = Buffer.concat(pieces);
  const mark = request.url.indexOf('?');
  return {
    rawBody,
    body: parseBody(rawBody, request.headers['content-type'] ?? ''),
    json: () => JSON.parse(rawBody.toString()),
    method: request.method,
    path: mark < 0 ? request.url : request.url.slice(0, mark),
    query: mark < 0 ? {} : Object.fromEntries(new URLSearchParams(request.url.slice(mark))),
    headers: request.headers,
  };
}

function parseBody(raw, type) {
  const text = raw.toString();
  if (!/^application\/([\w.-]+\+)?json\b/i.test(type)) return text;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

// What (event, context) handlers may use in place of a returned value.
function newContext() {
  const context = {
    hostname: process.env.HOSTNAME,
    function: NAME,
    namespace: process.env.HOB_NAMESPACE,
    answer: { statusCode: 200, headers: {} },
    status: (code) => ((context.answer.statusCode = code), context),
    headers: (headers) => ((context.answer.headers = headers), context),
    succeed: (body) => (context.answer.body = body),
    fail: (error) => {
      throw error;
    },
  };
  return context;
}

async function send(response, result) {
  // By its name: naming the global `Response` loads what is behind it, 20 ms of the first call and 9 MB for good.
  if (result?.[Symbol.toStringTag] === 'Response') {
    const headers = Object.fromEntries(result.headers);
    result = { statusCode: result.status, headers, body: result.body ?? '' };
  }
  let answer = { statusCode: 200, headers: {}, body: result };
  if (result?.statusCode) answer = { ...answer, body: undefined, ...result };
  const [type, body] = asBody(answer.body);
  response.statusCode = answer.statusCode;
  for (const [name, value] of Object.entries(answer.headers ?? {})) response.setHeader(name, value);
  if (type && !response.hasHeader('content-type')) response.setHeader('Content-Type', type);
  if (!body?.[Symbol.asyncIterator]) return response.end(body);
  for await (const piece of body) {
    if (response.destroyed) return; // leaving the loop closes the stream
    if (!response.write(piece)) await drained(response);
  }
  response.end();
}

const drained = (response) =>
  new Promise((resolve) => response.once('drain', resolve).once('close', resolve));

function asBody(value) {
  if (value === undefined || value === null) return [undefined, undefined];
  if (typeof value === 'string') return [TEXT, value];
  if (value instanceof Uint8Array) return ['application/octet-stream', value];
  if (value[Symbol.asyncIterator]) return [TEXT, value];
  return ['application/json', JSON.stringify(value)];
}

async function main() {
  const file = ['handler.js', 'handler.mjs', 'handler.cjs'].find((name) => fs.existsSync(path.join(__dirname, name)));
  const exported = await import(path.join(__dirname, file));
  const handle = [exported.default, exported.default?.default, exported.handle, exported.handler].find(
    (value) => typeof value === 'function',
  );
  if (!handle) throw new Error(`${file} exports no function: write \`module.exports = async (req) => …\``);

  const server = http.createServer(async (request, response) => {
    let event;
    try {
      event = await readEvent(request);
    } catch {
      return; // the caller hung up
    }
    try {
      if (handle.length < 2) return await send(response, await handle(event));
      const context = newContext();
      const result = await handle(event, context);
      await send(response, 'body' in context.answer ? context.answer : result);
    } catch (error) {
      console.error(error);
      refuse(response, 500, `handler failed: see ${NAME ? `\`hob logs ${NAME}\`` : 'its log'}`);
    }
  });
  server.keepAliveTimeout = 120_000; // longer than the gateway keeps an idle connection
  server.requestTimeout = 0; // the function's one timeout is kept by hob

  const { HOB_SOCKET, HOST = '127.0.0.1', PORT = '8080' } = process.env;
  if (HOB_SOCKET) {
    fs.rmSync(HOB_SOCKET, { force: true });
    server.listen(HOB_SOCKET);
  } else {
    server.listen(Number(PORT), HOST);
  }
  for (const signal of ['SIGTERM', 'SIGINT']) {
    process.on(signal, () => {
      server.close(() => process.exit(0));
      server.closeIdleConnections();
    });
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
