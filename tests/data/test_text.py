"""Texts as data: CoNLL-U with its traps, word pieces, rows and spans, the grammar's rules."""

import json
import re
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

from mlbench.core.errors import SettingError, UserError
from mlbench.data.datasets import conllu
from mlbench.data.datasets.grammar import ADVERBS, BOTH, KINDS, Grammar
from mlbench.data.datasets.treebank import Treebank, fetch
from mlbench.data.modality import PAD
from mlbench.data.text import rows_of
from mlbench.data.tokenizer import SPECIAL, load_tokenizer, train_tokenizer
from mlbench.explain.representation.activations import layers_of, vectors
from mlbench.explain.representation.probe_baselines import lookup
from tests.models.test_bert import bert

HEAD = "# global.Entity = GRP-etype-infstat-salience-centering-minspan-link-identity\n"
NAMED = "new-nnnnn-cf1-1-sgl"


def grammar_pieces(folder, seed):
    return grammar(seed).tasks[0]


def treebank_pieces(folder, seed):
    return treebank(folder, train_sentences=10).stream(folder, torch.Generator().manual_seed(seed)).tasks[0]


def word(number, form, upos="NOUN", xpos="NN", misc="_"):
    return f"{number}\t{form}\t{form.lower()}\t{upos}\t{xpos}\t_\t0\troot\t_\t{misc}\n"


def sentence(identity, *words):
    return f"# sent_id = {identity}\n# text = ...\n{''.join(words)}\n"


def read(tmp_path, content, classes="GUM_([a-z]+)_"):
    path = tmp_path / "some-train.conllu"
    path.write_text(content, encoding="utf-8")
    return conllu.read(path, classes)


def test_multi_word_tokens_and_empty_nodes_are_no_words(tmp_path):
    content = sentence("GUM_news_a-1", word("1-2", "don't"), word(1, "do"), word(2, "n't"), word("2.1", "gone"))
    (found,) = read(tmp_path, HEAD + content)
    assert found.words == ["do", "n't"]
    assert found.label == "news"
    assert found.tags == {"upos": ["NOUN"] * 2, "xpos": ["NN"] * 2, "ner": ["O"] * 2}


def test_a_sentence_without_a_genre_has_the_class_text(tmp_path):
    found = read(tmp_path, sentence("weblog-1", word(1, "a")) + word(1, "b"))
    assert [each.label for each in found] == ["text", "text"]


def test_the_outermost_named_span_counts(tmp_path):
    rows = [
        word(1, "The", misc=f"Entity=(1-abstract-{NAMED}"),  # a mention without an identity
        word(2, "University", misc=f"Entity=(2-organization-{NAMED}-University_of_Oslo"),
        word(3, "of"),
        word(4, "Oslo", misc=f"SpaceAfter=No|Entity=(3-place-{NAMED}-Oslo)2)1)"),
        word(5, "Paris", misc=f"Entity=(4-place-{NAMED}-Paris)"),
        word(6, "Rome", misc=f"Entity=(5-place-{NAMED}-Rome)"),
        word(7, "."),
    ]
    (found,) = read(tmp_path, HEAD + sentence("GUM_news_a-1", *rows))
    place = ["B-place", "B-place"]
    assert found.tags["ner"] == ["O", "B-organization", "I-organization", "I-organization", *place, "O"]


def test_without_identities_every_span_counts(tmp_path):
    rows = [
        word(1, "Ann", misc="Entity=(1-person)"),
        word(2, "b", misc="Entity=(2-place"),
        word(3, "c", misc="Entity=2)"),
    ]
    (found,) = read(tmp_path, sentence("x", *rows))
    assert found.tags["ner"] == ["B-person", "B-place", "I-place"]


def test_labels_of_a_named_entity_file_are_taken_as_they_are(tmp_path):
    (found,) = read(tmp_path, sentence("x", word(1, "Ann", misc="NER=B-PER"), word(2, "ran")))
    assert found.tags["ner"] == ["B-PER", "O"]


def test_a_column_file_says_what_its_columns_are(tmp_path):
    content = "# global.columns = FORM XPOS CHUNK NER\n# NN B-NP O\nAnn NNP B-NP B-PER\n# SYM B-NP O\n\nB NN I-NP O\n"
    first, second = read(tmp_path, content.replace("# NN", "No NN"))
    assert first.words == ["No", "Ann", "#"]
    assert first.tags == {"upos": ["_"] * 3, "xpos": ["NN", "NNP", "SYM"], "ner": ["O", "B-PER", "O"]}
    assert second.words == ["B"]


def test_only_line_feeds_end_lines(tmp_path):
    (found,) = read(tmp_path, "\ufeff" + sentence("GUM_news_a-1", word(1, "a\u2028b"), word(2, "c\x85")))
    assert (found.words, found.label) == (["a\u2028b", "c\x85"], "news")


def test_the_sent_id_of_a_sentence_is_the_one_above_it(tmp_path):
    (found,) = read(tmp_path, "# sent_id = GUM_bio_a-1\n\n" + sentence("GUM_news_a-1", word(1, "a")))
    assert found.label == "news"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (sentence("x", word(1, "a"), "2\tb\tc\n"), "line 4: 3 columns; CoNLL-U has 10"),
        (sentence("x", word(1, "a"), word(3, "b")), "line 4: the word's number is 3, and not 2"),
        (sentence("x", word("one", "a")), "line 3: the word's number is one, and not 1"),
        ("# global.columns = ID UPOS\n1\tX\n", "line 1: no column FORM"),
        ("# global.columns = FORM NER\nAnn B-PER\nran\n", "line 3: 1 columns; declared are 2"),
        ("", "holds no sentences"),
        ("# sent_id = x\n", "holds no sentences"),
    ],
)
def test_broken_files_are_named(tmp_path, content, message):
    with pytest.raises(UserError, match=message):
        read(tmp_path, content)


def treebank(folder, **changes):
    settings = {"name": "own", "path": str(folder), "classes": "GUM_([a-z]+)_", "length": 12, "vocabulary": 100}
    return Treebank(**{**settings, "tokenizer": None, "train_sentences": None, **changes})


@pytest.fixture
def folder(tmp_path):
    train = [
        sentence(f"GUM_{genre}_a-{k}", *(word(n + 1, w) for n, w in enumerate(words.split())))
        for k, (genre, words) in enumerate(
            [
                ("news", "the dog runs far away"),
                ("bio", "a dog sees the red bird"),
                ("news", "dogs run"),
                ("bio", " ".join(["long"] * 30)),
            ]
            * 3
        )
    ]
    (tmp_path / "en-train.conllu").write_text("".join(train))
    (tmp_path / "en-dev.conllu").write_text(sentence("GUM_news_b-1", word(1, "dog"), word(2, "runs", "VERB", "VBZ")))
    (tmp_path / "en-test.conllu").write_text(
        sentence("GUM_bio_c-1", word(1, "dogzilla"), word(2, "Ωμέγα"), word(3, "run"))
    )
    return tmp_path


def spelled(task, split, known, row):
    """The words of a row, from the pieces that their spans point at."""
    ids, names, found = split.raw(torch.tensor([row]))[0].tolist(), task.modality.vocabulary, []
    for start, end in known.spans[known.rows == row].tolist():
        found.append("".join(names[number].removeprefix("##") for number in ids[start:end]))
    return found


def test_spans_point_at_the_pieces_that_spell_the_word(folder):
    task = treebank(folder).stream(folder, torch.Generator()).tasks[0]
    assert spelled(task, task.train, task.properties.train, 1) == ["a", "dog", "sees", "the", "red", "bird"]
    assert spelled(task, task.validation, task.properties.validation, 0) == ["dog", "runs"]
    assert spelled(task, task.test, task.properties.test, 0)[1] == "[UNK]"  # letters that training has not
    known = task.properties
    assert known.values["xpos"] == ["NN", "VBZ"]
    assert known.validation.labels["xpos"].tolist() == [0, 1]
    dog = known.validation.forms[0]
    assert dog in known.train.forms
    assert known.test.forms[0] not in known.train.forms


def test_a_long_sentence_is_cut_and_its_other_words_are_no_items(folder):
    task = treebank(folder).stream(folder, torch.Generator()).tasks[0]
    ids = task.train.raw(torch.tensor([3]))[0]
    assert len(ids) == 12
    assert (ids != PAD).all()
    known = task.properties.train
    assert known.spans[known.rows == 3].max() <= 11
    assert 0 < (known.rows == 3).sum() < 30


def test_word_pieces_are_made_of_training_words_alone(folder):
    before = treebank(folder).stream(folder, torch.Generator()).tasks[0].modality.vocabulary
    (folder / "en-test.conllu").write_text(sentence("GUM_bio_c-1", *[word(k + 1, "zebra") for k in range(50)]))
    task = treebank(folder).stream(folder, torch.Generator()).tasks[0]
    assert task.modality.vocabulary == before
    assert not any("z" in piece for piece in before if not piece.startswith("["))


def test_rows_and_classes(folder):
    data = treebank(folder).stream(folder, torch.Generator())
    task = data.tasks[0]
    assert data.classes == ["bio", "news"]
    assert task.train.labels[:2].tolist() == [1, 0]
    batch = task.train.batch(torch.tensor([0]))
    assert batch.x.dtype == torch.int64
    ids = batch.x[0][batch.x[0] != PAD]
    assert [task.modality.vocabulary[k] for k in (ids[0], ids[-1])] == ["[CLS]", "[SEP]"]


def test_packed_rows_hold_every_training_sentence_once_and_in_order(folder):
    task = treebank(folder).stream(folder, torch.Generator()).tasks[0]
    packed, rows = task.unlabelled.pool.examples, task.train.pool.examples
    assert packed.shape[1] == 24
    assert packed[packed != PAD].tolist() == rows[rows != PAD].tolist()
    assert (packed[:, 0] == task.modality.opening).all()  # none is torn apart
    assert (packed != PAD).double().mean() > (rows != PAD).double().mean()


def test_pieces_are_the_same_in_another_process(folder):
    code = "from mlbench.data import tokenizer; from mlbench.data.datasets import conllu; import sys, pathlib; "
    code += "sentences = [s.words for s in conllu.read(pathlib.Path(sys.argv[1]), '(x)')]; "
    code += "print(tokenizer.train_tokenizer(sentences, 60).names)"
    words = [sys.executable, "-c", code, str(folder / "en-train.conllu")]
    first, again = (subprocess.run(words, capture_output=True, text=True, check=True).stdout for _ in range(2))
    assert first == again
    assert "'##og'" in first or "'dog'" in first


def test_what_every_word_has_is_no_property(folder):
    task = treebank(folder).stream(folder, torch.Generator()).tasks[0]
    assert set(task.properties.values) == {"upos", "xpos"}  # no word is a name
    path = folder / "en-dev.conllu"
    path.write_text(path.read_text().replace("VERB\tVBZ", "NOUN\tNN"))
    assert treebank(folder).stream(folder, torch.Generator()).tasks[0].properties is None


@pytest.mark.parametrize("data", [grammar_pieces, treebank_pieces])
def test_pieces_are_the_same_at_every_seed(folder, data):
    first, other = data(folder, 0), data(folder, 1)
    assert first.modality.vocabulary == other.modality.vocabulary
    assert first.modality.fingerprint == other.modality.fingerprint
    assert first.unlabelled.pool.examples.tolist() != other.unlabelled.pool.examples.tolist()


def test_a_vocabulary_that_has_no_room_for_the_letters_is_refused():
    with pytest.raises(SettingError, match="vocabulary=12: allowed is 13 or more for texts of 4 letters"):
        train_tokenizer([["abcd"]], 12)
    assert train_tokenizer([["abcd"]], 13).ids([["dc"]]) == [[[8, 11]]]


def test_fewer_sentences_are_drawn_by_the_seed(folder):
    first, again = (treebank(folder, train_sentences=10).stream(folder, torch.Generator().manual_seed(3)) for _ in "ab")
    assert len(first.tasks[0].train) == 10
    assert torch.equal(first.tasks[0].train.pool.examples, again.tasks[0].train.pool.examples)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"length": 4}, "length"),
        ({"vocabulary": 5}, "vocabulary"),
        ({"classes": "GUM"}, "one group"),
        ({"classes": "("}, "classes"),
    ],
)
def test_settings_that_make_no_sense_are_refused(tmp_path, changes, named):
    with pytest.raises(SettingError, match=named):
        treebank(tmp_path, **changes)


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(UserError, match="data=grammar needs none"):
        treebank(tmp_path / "none").stream(tmp_path, torch.Generator())
    with pytest.raises(UserError, match=r"0 files \*train\*.conllu"):
        treebank(tmp_path).stream(tmp_path, torch.Generator())
    with pytest.raises(UserError, match=r"there is no folder .*none"):
        load_tokenizer(str(tmp_path / "none"))
    with pytest.raises(UserError, match=r"data\.tokenizer=.*cannot be had"):
        load_tokenizer(str(tmp_path))


@pytest.fixture
def server(folder, monkeypatch):
    """Universal Dependencies on loopback."""
    place = folder / "served" / "UD_English-GUM" / "r2.16"
    place.mkdir(parents=True)
    for word in ("train", "dev", "test"):
        (folder / f"en-{word}.conllu").rename(place / f"en_gum-ud-{word}.conllu")
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder / "served"))
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        monkeypatch.setattr("mlbench.data.datasets.treebank.ADDRESS", f"http://127.0.0.1:{serving.server_port}")
        yield place
        serving.shutdown()


def test_a_treebank_is_fetched_on_first_use(server, tmp_path):
    data = tmp_path / "data"
    task = treebank(None, name="ud_english_gum", path=None).stream(data, torch.Generator()).tasks[0]
    assert len(task.train) == 12
    assert {path.name for path in (data / "ud_english_gum").iterdir()} == {path.name for path in server.iterdir()}
    assert [path.name for path in data.iterdir()] == ["ud_english_gum"]


def test_what_another_process_fetched_meanwhile_is_taken(server, tmp_path):
    first = fetch("ud_english_gum", tmp_path / "data")
    assert fetch("ud_english_gum", tmp_path / "data") == first
    assert list((tmp_path / "data").iterdir()) == [first]


def test_what_cannot_be_fetched_leaves_nothing(server, tmp_path):
    (server / "en_gum-ud-test.conllu").write_text("1\ta\n")
    with pytest.raises(UserError, match="data=grammar needs no download"):
        fetch("ud_english_gum", tmp_path / "data")
    assert not (tmp_path / "data").exists()


class Broken(SimpleHTTPRequestHandler):
    """Ends after the first of the bytes it promised, or says nothing that is HTTP."""

    def do_GET(self):
        if "dev" in self.path:
            self.wfile.write(b"nonsense\r\n\r\n")
            return
        whole = sentence("GUM_news_a-1", word(1, "a")).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(2 * len(whole)))
        self.end_headers()
        self.wfile.write(whole)


@pytest.mark.parametrize("first", ["train", "dev"])
def test_a_connection_that_breaks_leaves_nothing(tmp_path, monkeypatch, first):
    monkeypatch.setattr(Broken, "log_message", lambda *_: None)
    monkeypatch.setattr("mlbench.data.datasets.treebank.FILES", {first: first})
    with ThreadingHTTPServer(("127.0.0.1", 0), Broken) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        monkeypatch.setattr("mlbench.data.datasets.treebank.ADDRESS", f"http://127.0.0.1:{serving.server_port}")
        with pytest.raises(UserError, match="could not be fetched"):
            fetch("ud_english_gum", tmp_path / "data")
        serving.shutdown()
    assert not (tmp_path / "data").exists()


def test_the_list_of_data_names_treebanks(mlbench, tmp_path, folder):
    folder.joinpath("ud_english_ewt").mkdir()
    folder.joinpath("en-dev.conllu").rename(folder / "ud_english_ewt" / "en-dev.conllu")
    code, text, _ = mlbench("data", f"data_dir={folder}", out=False)
    assert code == 0
    (line,) = [line for line in text.splitlines() if "ud_english_ewt" in line]
    assert "there" in line
    assert "missing" in next(line for line in text.splitlines() if "ud_english_gum" in line)
    code, text, _ = mlbench("data", "get", "ud_english_ewt", f"data_dir={folder}", out=False)
    assert (code, "is there already" in text) == (0, True)


def grammar(seed=0, **changes):
    settings = {
        "train_sentences": 300,
        "validation_sentences": 20,
        "test_sentences": 100,
        "length": 24,
        "vocabulary": 300,
        "tokenizer": None,
    }
    return Grammar(**{**settings, **changes}).stream(None, torch.Generator().manual_seed(seed))


def test_the_grammar_gives_the_same_texts_at_the_same_seed():
    first, again, other = grammar(), grammar(), grammar(1)
    assert torch.equal(first.tasks[0].train.pool.examples, again.tasks[0].train.pool.examples)
    assert not torch.equal(first.tasks[0].train.pool.examples, other.tasks[0].train.pool.examples)
    assert first.classes == sorted(ADVERBS)


def test_one_adverb_decides_the_class():
    data = grammar()
    task, known = data.tasks[0], data.tasks[0].properties.train
    decides = (known.labels["decides"] == 1) & (known.rows < len(task.train))
    rows = known.rows[decides].tolist()
    assert len(set(rows)) == len(rows) > 290  # a few stand in a second row
    for row, place in zip(rows, decides.nonzero().flatten().tolist(), strict=True):
        (start, end) = known.spans[place].tolist()
        pieces = task.train.raw(torch.tensor([row]))[0, start:end].tolist()
        spelling = "".join(task.modality.vocabulary[number].removeprefix("##") for number in pieces)
        assert spelling in ADVERBS[data.classes[task.train.labels[row]]]


def test_the_words_around_tell_what_a_word_is():
    known = grammar().tasks[0].properties
    guess, ambiguous = lookup(known.train, known.test, "upos", len(known.values["upos"]))
    right = guess == known.test.labels["upos"]
    assert ambiguous.double().mean() > 0.15
    assert right[ambiguous].double().mean() < 0.7
    assert right[~ambiguous].double().mean() > 0.97
    assert {"B-person", "I-person", "B-place", "I-place", "O"} == set(known.values["ner"])
    assert {"VB", "VBP", "DT", "PRP$"} < set(known.values["xpos"])
    assert not set(BOTH) & set(KINDS)


def test_unknown_words_have_a_piece_of_their_own():
    pieces = train_tokenizer([["abc", "abc"]], 100)
    assert pieces.ids([["abc", "Ω"]]) == [[[5 + pieces.names[5:].index("abc")], [1]]]


@pytest.mark.usefixtures("undrawn")
def test_texts_are_explained_and_plain_training_takes_them(mlbench, tmp_path):
    few = ("data.train_sentences=60", "data.test_sentences=20", "data.validation_sentences=20", "threads=1")
    small = ("model.width=8", "model.depth=1", "model.pretrain_epochs=1", "train.epochs=1")
    words = ("data=grammar", "model=bert", *few, *small)
    for more in (
        (),
        ("explain=occlusion", "explain.samples=3"),
        ("explain=embed", "explain.samples=50"),
        ("explain=probe", "explain.hidden=[0]", "explain.mix=false"),
    ):
        code, _, error = mlbench(*words, *more)
        assert code == 0, error
    code, _, error = mlbench(
        "-m", *words, "explain=occlusion,saliency", "explain.samples=3"
    )  # ends in a table without pictures
    assert code == 0, error
    code, _, error = mlbench(*words, "explain=gradcam")
    assert code == 2
    assert "explain=gradcam is made for pictures" in error
    code, _, error = mlbench(*words, "explain=probe", "explain.property=colour")
    assert code == 2
    assert "explain.property=colour: allowed is upos or xpos or ner or decides, or null" in error
    code, _, error = mlbench("explain=probe", "data=grammar", "model=cnn", *few)
    assert (code, "they need a model for texts, such as model=bert" in error) == (2, True)
    code, _, error = mlbench("data=digits", "model=bert")
    assert code == 2
    assert "takes texts" in error


def test_one_class_is_refused_where_answers_are_asked_for(mlbench, folder):
    words = ("data=ud_english", f"data.path={folder}", "data.classes='(x)'", "data.vocabulary=100", "model=bert")
    small = ("model.width=8", "model.depth=1", "model.pretrain_epochs=1", "train.epochs=1", "threads=1")
    for more in ((), ("explain=saliency",)):
        code, _, error = mlbench(*words, *small, *more)
        assert code == 2
        assert "has the one class text" in error
    code, _, error = mlbench(*words, *small, "explain=probe", "explain.hidden=[0]")
    assert code == 0, error


def test_a_checkpoint_reads_its_own_pieces_only(mlbench, tmp_path):
    few = ("data.train_sentences=60", "data.test_sentences=20", "data.validation_sentences=20", "threads=1")
    small = ("model.width=8", "model.depth=1", "model.pretrain_epochs=0", "train.epochs=1")
    words = ("data=grammar", "model=bert", *few, *small)
    assert mlbench(*words)[0] == 0
    (made,) = (tmp_path / "out" / "plain" / "grammar-bert").iterdir()
    code, _, error = mlbench(*words, "seed=1", f"checkpoint={made}")
    assert code == 0, error
    code, _, error = mlbench(*words, f"checkpoint={made}", "data.vocabulary=300")
    assert code == 2
    assert "reads other word pieces" in error


@pytest.fixture
def pretrained(tmp_path):
    """A small network of Hugging Face's kind with its tokeniser, in a folder."""
    transformers = pytest.importorskip("transformers")
    place = tmp_path / "tiny"
    letters = "abcdefghijklmnopqrstuvwxyz"
    names = [*SPECIAL, *letters, *(f"##{letter}" for letter in letters), *(f"spare{k}" for k in range(400))]
    transformers.BertTokenizerFast(vocab={name: k for k, name in enumerate(names)}).save_pretrained(place)
    shape = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = transformers.BertConfig(vocab_size=len(names), max_position_embeddings=64, **shape)
    transformers.BertForMaskedLM(config).save_pretrained(place)
    return place


def test_a_pretrained_network_reads_its_own_pieces(pretrained):
    task = grammar(tokenizer=str(pretrained)).tasks[0]
    assert task.modality.vocabulary[5:8] == ["a", "b", "c"]
    assert task.modality.vocabulary[task.modality.mask] == "[MASK]"
    words = spelled(task, task.train, task.properties.train, 0)
    assert words == [word.lower() for word in words]
    assert len(words) > 2


def test_a_tokenizer_with_lengths_of_its_own_reads_whole_sentences(pretrained):
    """A folder may say to cut at four pieces, and to fill up to four."""
    words = [["ab", "c", "de", "f"], ["a"]]
    before = load_tokenizer(str(pretrained)).ids(words)
    assert [len(pieces) for pieces in before[0]] == [2, 1, 2, 1]
    transformers = pytest.importorskip("transformers")
    own = transformers.AutoTokenizer.from_pretrained(pretrained)
    own.backend_tokenizer.enable_truncation(4)
    own.backend_tokenizer.enable_padding(length=4)
    own.save_pretrained(pretrained)
    assert load_tokenizer(str(pretrained)).ids(words) == before


def test_an_encoder_without_a_masked_language_head_is_given_no_masked_accuracy(mlbench, tmp_path, pretrained):
    transformers = pytest.importorskip("transformers")
    whole = transformers.BertForMaskedLM.from_pretrained(pretrained)
    whole.bert.save_pretrained(pretrained)
    few = ("data.train_sentences=40", "data.test_sentences=20", "data.validation_sentences=20", "threads=1")
    words = ("explain=embed", "data=grammar", "model=bert", f"model.pretrained={pretrained}", *few)
    code, out, error = mlbench(*words, "explain.samples=20")
    assert code == 0, error
    assert "no masked accuracy: the weights come without a head" in error
    assert not any(word in out + error for word in ("MISSING", "LOAD REPORT", "Loading weights", "corrupted"))
    (found,) = (tmp_path / "out").glob("explain/*/*/summary.json")
    assert "masked_accuracy" not in json.loads(found.read_text())["metrics"]


def test_long_sentences_are_divided_between_words():
    """[CLS] and [SEP] take two of six places: a word of three pieces fits, the one of two behind it does not."""
    assert rows_of([[1, 2, 3], [4, 5], [6]], 4) == [[0], [1, 2]]
    assert rows_of([[1, 2, 3], [4, 5], [6]], 6) == [[0, 1, 2]]
    assert rows_of([[1], [2, 3, 4, 5, 6], [7], [8]], 4) == [[0], [2, 3]]
    assert rows_of([[2, 3, 4, 5, 6], [7]], 4) == [[], [1]]
    assert rows_of([[1], [2, 3, 4, 5, 6]], 4) == [[0]]
    assert rows_of([], 4) == [[]]


def test_every_word_of_a_long_sentence_is_at_hand():
    """The same words in the same order as where no sentence is long, and the pieces of each where its place says."""
    short, long = grammar(length=12), grammar(length=64)
    told = "data.length=12 pieces: .* train sentences, .* are longer and are read in parts"
    assert re.fullmatch(told, short.remarks[0])
    assert len(short.tasks[0].train) == len(long.tasks[0].train)
    for part in ("train", "validation", "test"):
        mine, whole = (getattr(stream.tasks[0].properties, part) for stream in (short, long))
        assert mine.forms.equal(whole.forms)
        assert all(mine.labels[name].equal(labels) for name, labels in whole.labels.items())
        assert (mine.spans[:, 1] <= 11).all()
        for one, other in zip(pieces_of(mine), pieces_of(whole), strict=True):
            assert one == other


def pieces_of(items):
    """The ids of the pieces of each word."""
    rows = items.split.raw(items.split.places)
    return [rows[row, start:end].tolist() for row, (start, end) in zip(items.rows, items.spans, strict=True)]


def test_a_word_in_a_later_part_has_the_vector_of_its_own_place():
    task = grammar(length=8).tasks[0]
    net = bert(length=8, vocabulary=400)
    items = task.properties.test
    paths = layers_of(net)
    found = vectors(net, task.test, items, paths)
    number = int((items.rows >= len(task.test)).nonzero()[0])
    row, (start, end) = items.rows[number], items.spans[number]
    states = net.language.bert(items.split.raw(row[None]).long(), output_hidden_states=True).hidden_states
    for layer, state in enumerate(states):
        torch.testing.assert_close(found[number, layer], state[0, start:end].mean(0), atol=1e-5, rtol=1e-4)


def test_no_remark_where_no_sentence_is_long():
    assert grammar(length=64).remarks == []


def test_the_pieces_go_along_with_a_pretrained_network(mlbench, tmp_path, pretrained):
    few = ("data.train_sentences=60", "data.test_sentences=20", "data.validation_sentences=20", "threads=1")
    code, _, error = mlbench("data=grammar", "model=bert", f"model.pretrained={pretrained}", *few, "train.epochs=1")
    assert code == 0, error
    code, _, error = mlbench("data=grammar", "model=bert", f"data.tokenizer={pretrained}", *few)
    assert code == 2  # more pieces than the network knows
    assert "does not take texts" in error


@pytest.mark.usefixtures("same_process")
def test_weights_and_pieces_of_others_that_have_changed_make_another_network(mlbench, tmp_path, pretrained):
    few = ("data.train_sentences=60", "data.test_sentences=20", "data.validation_sentences=20", "threads=1")
    words = ("compress=measure", "data=grammar", "model=bert", f"model.pretrained={pretrained}", "train.epochs=1", *few)
    told = []
    for content in (None, None, "one", "two"):
        if content is not None:
            (pretrained / "README.md").write_text(content)
        code, _, error = mlbench(*words, "seeds=1")
        assert code == 0, error
        told.append("has changed since" in error)
        assert mlbench(*words, "force=true")[0] == 0
    assert told == [False, False, True, True]
    assert len(list((tmp_path / "out" / "store").glob("*.pt"))) == 3


def test_code_beside_a_tokeniser_is_not_run(tmp_path, pretrained, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: "y")  # whoever asks is told yes
    code = f"import pathlib; pathlib.Path({str(tmp_path / 'run')!r}).touch()\n"
    (pretrained / "own.py").write_text(code + "class Own: pass\n")
    (pretrained / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": ["own.Own", "own.Own"]}}')
    (pretrained / "config.json").write_text('{"model_type": "own", "auto_map": {"AutoConfig": "own.Own"}}')
    with pytest.raises(UserError, match="cannot be had"):
        load_tokenizer(str(pretrained))
    assert not (tmp_path / "run").exists()
