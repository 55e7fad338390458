"""The HTTP API: the routes, an endpoint for each, and how an answer is written."""
