"""Two diagnosis baselines that belong in every table of missing modalities: late and early fusion of images.

Late fusion classifies each image modality by itself and averages the logits of those that are present;
whole modalities are dropped in training (Neverova et al., ModDrop, TPAMI 2016). Early fusion concatenates the
features of all modalities, writes zeros where one is absent, and classifies once; in training it sees no gaps
but those of the data, so it shows what becomes of a classifier that was built for complete inputs. Both read
every image modality and nothing else, for exclusive classes (softmax) as for independent findings (sigmoid).

Shapes: batch B, modalities N, feature width S, labels L. Neither reimplements a published system: choices are
``card.deviations``.
"""
