//! What a kernel reads and writes: a source and a target of one length, or one buffer that is both.

/// Where the text is read, and where it is written.
pub(super) struct Text<'a> {
    /// `None` is in place.
    source: Option<&'a [u8]>,
    target: &'a mut [u8],
}

impl<'a> Text<'a> {
    /// From one buffer to another.
    ///
    /// # Panics
    /// Where their lengths differ: every caller passes two buffers of one length.
    pub(super) fn apart(source: &'a [u8], target: &'a mut [u8]) -> Self {
        assert_eq!(source.len(), target.len(), "a text keeps its length");
        Self { source: Some(source), target }
    }

    pub(super) fn in_place(buffer: &'a mut [u8]) -> Self {
        Self { source: None, target: buffer }
    }

    pub(super) fn len(&self) -> usize {
        self.target.len()
    }

    pub(super) fn source(&self) -> &[u8] {
        match self.source {
            Some(source) => source,
            None => self.target,
        }
    }

    pub(super) fn target(&self) -> &[u8] {
        self.target
    }

    /// Whole groups in it.
    pub(super) fn groups<const SIZE: usize>(&self) -> usize {
        self.len() / SIZE
    }

    /// A group of the source.
    #[inline]
    #[allow(clippy::indexing_slicing, reason = "kernels count up to `groups`")]
    pub(super) fn source_group<const SIZE: usize>(&self, group: usize) -> &[u8; SIZE] {
        &self.source().as_chunks().0[group]
    }

    /// A group of the target.
    #[inline]
    #[allow(clippy::indexing_slicing, reason = "kernels count up to `groups`")]
    pub(super) fn target_group<const SIZE: usize>(&mut self, group: usize) -> &mut [u8; SIZE] {
        &mut self.target.as_chunks_mut().0[group]
    }

    /// What is left of the source behind its groups.
    pub(super) fn source_rest<const SIZE: usize>(&self) -> &[u8] {
        self.source().as_chunks::<SIZE>().1
    }

    /// What is left of the target behind its groups, as written.
    pub(super) fn target_rest<const SIZE: usize>(&self) -> &[u8] {
        self.target().as_chunks::<SIZE>().1
    }

    /// The text behind the groups.
    pub(super) fn rest<const SIZE: usize>(&mut self) -> Text<'_> {
        let target = self.target.as_chunks_mut::<SIZE>().1;
        Text { source: self.source.map(|source| source.as_chunks::<SIZE>().1), target }
    }

    /// The pieces of a text, `size` bytes and the last one shorter: each is read, then written.
    pub(super) fn for_each_piece(&mut self, size: usize, mut work: impl FnMut(&mut Text<'_>)) {
        let mut sources = self.source.map(|source| source.chunks(size));
        for target in self.target.chunks_mut(size) {
            let source = sources.as_mut().and_then(Iterator::next);
            work(&mut Text { source, target });
        }
    }

    pub(super) fn target_mut(&mut self) -> &mut [u8] {
        self.target
    }
}
