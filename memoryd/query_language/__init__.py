"""The recall language of ferricula: planner, parser, evaluation."""
