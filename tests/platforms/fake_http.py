"""The suite's stand-in for a network by its short name, for the tests of our own modules."""

from platforms.conformance.fake_http import NOW, Answer, Answerer, FakeHttp, Sent

__all__ = ["NOW", "Answer", "Answerer", "FakeHttp", "Sent"]
