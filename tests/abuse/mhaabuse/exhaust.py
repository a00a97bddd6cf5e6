"Placeholder"
def run(world): return {}
