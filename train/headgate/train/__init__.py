"""Train families of split models: backbones, bottleneck, losses and loops. Imports torch."""
