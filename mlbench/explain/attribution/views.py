"""Which view explains examples of which modality."""

from mlbench.data.modality import Modality, Pictures, Spectrograms, Tables, Tokens
from mlbench.explain.attribution.examples import View
from mlbench.explain.attribution.feature_attribution import FeatureView
from mlbench.explain.attribution.picture_attribution import PictureView
from mlbench.explain.attribution.token_attribution import TokenView

VIEWS: dict[type[Modality], type[View]] = {
    Pictures: PictureView,
    Spectrograms: PictureView,
    Tokens: TokenView,
    Tables: FeatureView,
}
