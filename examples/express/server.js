const express = require('express');

const app = express();

app.get('/', (request, response) => response.type('text').send('Express says hello\n'));
app.get('/greet/:name', (request, response) => response.json({ greeting: `Hello, ${request.params.name}` }));

const server = app.listen(process.env.PORT);
process.on('SIGTERM', () => server.close());
