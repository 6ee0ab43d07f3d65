"""Does an artefact paint the same picture? The cases, the comparison, the tolerances and the gate."""
