"""Linear algebra on Kronecker-factored curvature."""
