"""The agents: ingress, refine, handoff. They meet only at topics."""
