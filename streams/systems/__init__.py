"""Systems: what each of them is asked beside jobs. None imports another, as in the domain."""
