"""ADE20K (SceneParse150)."""
