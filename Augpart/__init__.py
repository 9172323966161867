"""PoseAug: generators that change 3D sequences, their training and their use."""
