"""Text, tokens and the token blocks that every model of a study reads.

Names are imported when first used: the documents of a store need no tokenizer.
"""

from typing import TYPE_CHECKING, Any

from universality.extras import import_name

if TYPE_CHECKING:
    from universality.corpus.blocks import TokenBlocks, cut_blocks
    from universality.corpus.common_text import CommonText, common_blocks
    from universality.corpus.corpus import Corpus, build_common, build_corpus, build_from_arrays
    from universality.corpus.documents import DocumentTable
    from universality.corpus.layout import TextLayout
    from universality.corpus.passage import Passage
    from universality.corpus.passages import Reading, read_passages, read_source
    from universality.corpus.splits import split_documents
    from universality.corpus.texts import write_texts
    from universality.corpus.tokenizer import Tokenizer, load_tokenizer, train_bpe, wrap_tokenizer

_HOME = {
    "CommonText": "universality.corpus.common_text",
    "Corpus": "universality.corpus.corpus",
    "DocumentTable": "universality.corpus.documents",
    "Passage": "universality.corpus.passage",
    "Reading": "universality.corpus.passages",
    "TokenBlocks": "universality.corpus.blocks",
    "TextLayout": "universality.corpus.layout",
    "Tokenizer": "universality.corpus.tokenizer",
    "build_common": "universality.corpus.corpus",
    "build_corpus": "universality.corpus.corpus",
    "build_from_arrays": "universality.corpus.corpus",
    "common_blocks": "universality.corpus.common_text",
    "cut_blocks": "universality.corpus.blocks",
    "load_tokenizer": "universality.corpus.tokenizer",
    "read_passages": "universality.corpus.passages",
    "read_source": "universality.corpus.passages",
    "split_documents": "universality.corpus.splits",
    "train_bpe": "universality.corpus.tokenizer",
    "wrap_tokenizer": "universality.corpus.tokenizer",
    "write_texts": "universality.corpus.texts",
}
__all__ = [
    "CommonText",
    "Corpus",
    "DocumentTable",
    "Passage",
    "Reading",
    "TextLayout",
    "TokenBlocks",
    "Tokenizer",
    "build_common",
    "build_corpus",
    "build_from_arrays",
    "common_blocks",
    "cut_blocks",
    "load_tokenizer",
    "read_passages",
    "read_source",
    "split_documents",
    "train_bpe",
    "wrap_tokenizer",
    "write_texts",
]


def __getattr__(name: str) -> Any:
    return import_name(__name__, name, _HOME)
