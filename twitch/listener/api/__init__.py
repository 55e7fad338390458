"""What each path answers: routes, endpoints, and how an answer is written."""
