"""Import published weights of other programs without running code from their files."""
