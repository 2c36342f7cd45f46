"""How easily a suppressed model is brought back: by its prompt, by its weights, and what is inside.

Each verb takes a model and returns figures; a comparison calls it once a model.
"""
