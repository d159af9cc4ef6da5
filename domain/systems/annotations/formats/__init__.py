"""File formats of annotated texts and images. Each is one module, its reader beside its writer."""
