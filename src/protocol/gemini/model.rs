//! What a model's name says about it. Google's generations differ in what they take; a name that says nothing is taken for an older one.

/// What the name of a model says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Model<'a> {
    name: &'a str,
}

impl<'a> Model<'a> {
    pub(super) fn new(name: &'a str) -> Self {
        Self { name }
    }

    /// The first number of `gemini-3-pro-preview`. `gemini-flash-latest` and its like have been of the third or a later one since 2026.
    fn generation(self) -> Option<u32> {
        let (_, rest) = self.name.split_once("gemini-")?;
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        match rest[..digits].parse() {
            Ok(generation) => Some(generation),
            Err(_) if rest.ends_with("-latest") => Some(3),
            Err(_) => None,
        }
    }

    /// Whether it is known to be of the third generation or later: these take `thinkingLevel`, insist on the signatures of their calls, and
    /// read pictures inside of tools' results.
    pub(super) fn is_third(self) -> bool {
        self.generation().is_some_and(|generation| generation >= 3)
    }

    /// Whether it is known to be of an earlier one: these cannot write JSON when they have tools.
    pub(super) fn is_earlier(self) -> bool {
        self.generation().is_some_and(|generation| generation < 3)
    }

    /// Whether it is a Pro, which cannot stop thinking.
    pub(super) fn is_pro(self) -> bool {
        self.name.contains("-pro")
    }
}
