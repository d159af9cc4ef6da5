"""Systems: the routes of each of them. What one of them answers with is its own."""
