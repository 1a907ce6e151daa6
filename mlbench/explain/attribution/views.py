"""The view of each modality: a new modality needs an entry here, and nothing else in this package."""

from mlbench.data.modality import Modality, Pictures, Spectrograms, Tables, Tokens
from mlbench.explain.attribution.examples import View
from mlbench.explain.attribution.feature_attribution import FeatureView
from mlbench.explain.attribution.picture_attribution import PictureView, SpectrogramView
from mlbench.explain.attribution.token_attribution import TokenView

VIEWS: dict[type[Modality], type[View]] = {
    Pictures: PictureView,
    Spectrograms: SpectrogramView,
    Tokens: TokenView,
    Tables: FeatureView,
}
