// Answers a call. `req` has body (text, or an object when it came as JSON), rawBody, headers,
// method, path and query. Return a body, or { statusCode, headers, body }.
module.exports = async (req) => `Hello, ${req.body || 'world'}!`;
