"""What each training token teaches: curvature, direction, token scores."""
