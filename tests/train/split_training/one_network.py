"""The reference for both halves: the same modules trained as one network."""

from __future__ import annotations

import torch
from torch.nn import functional

from headgate.train.learning.losses import prune_loss
from headgate.train.learning.material import Deal, Pictures
from headgate.train.learning.optimizers import make_sgd
from headgate.train.networks.split_model import SplitModel
from headgate.train.pictures.data import default_augmentation
from headgate.train.run.plan import Plan
from headgate.train.seeds import derive_seed
from headgate.train.split_training.growth import bottleneck_of, encode_following, grow
from headgate.train.split_training.server_run import fresh_model
from headgate.train.split_training.settings import DepruneSettings, rate_of
from train.split_training.small import CPU, NUM_STEPS


def trained_in_one_piece(plan: Plan, settings: DepruneSettings) -> SplitModel:
    """Train the same modules as one network: the reference for both halves."""
    config = plan.config
    model = fresh_model(plan, settings, device=CPU)
    optimizer = make_sgd(model.parameters(), config)
    material = Pictures(plan.data, default_augmentation(config.data, input_px=16))
    for epoch in range(settings.num_epochs):
        phase = settings.phase_of(epoch)
        if model.budget != settings.budget_of(epoch):
            assert settings.budget_of(epoch) == model.bottleneck.channels
            grow(
                bottleneck_of(model),
                optimizer,
                selected=range(model.bottleneck.channels),
                join=settings.join,
                seed=derive_seed(config.seed, "join", phase),
            )
        deal = Deal(derive_seed(config.seed, "deprune"), epoch, config.batch_size, 0, 1, 0)
        for step, lesson in enumerate(material.deal(deal)):
            model.train()
            features_BPHW = model.features(lesson.x_BCHW)
            exit_logits_BK = model.exit_head(features_BPHW.detach())
            code_BCHW = encode_following(model, features_BPHW)
            logits_BK = model.tail(model.bottleneck.decode(code_BCHW))
            loss = functional.cross_entropy(logits_BK, lesson.labels_B)
            loss = loss + functional.cross_entropy(exit_logits_BK, lesson.labels_B)
            loss = loss + config.epsilon * prune_loss(
                model.bottleneck.filter_P,
                budget=model.budget,
                delta=config.delta,
                symmetry=config.lambda_,
            )
            optimizer.zero_grad()
            torch.autograd.backward([loss])
            rate = rate_of(config, settings, epoch=epoch, step=step, num_steps=NUM_STEPS)
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
    return model
