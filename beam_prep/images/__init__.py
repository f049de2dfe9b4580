"""One image: decode, equalize, resize to every size, measure."""
