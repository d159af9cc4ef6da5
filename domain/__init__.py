"""What a domain record is, and the rules of bulk operations on it: no framework inside."""
