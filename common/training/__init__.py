"""How a run goes: devices, steps, epochs, checkpoints and the files it leaves."""
