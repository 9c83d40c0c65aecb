"""How the simulator asks each type of question, grouped by what the question is about. `synth.taxonomy` names them."""
