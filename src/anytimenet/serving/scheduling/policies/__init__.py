"""What decides how deep requests go: by accuracy per millisecond, or as others do it, to compare with."""
