//! What is said just before a number: the only thing that tells a telephone number without a prefix from any other number.

use super::is_unspaced;

/// So many characters before a number are looked at.
const WINDOW: usize = 24;

/// Words that a telephone number comes after, in lower case. One that is a beginning ends with a star.
const PHONE: &[&str] = &[
    "tel",
    "telephone",
    "telephones",
    "phone",
    "phones",
    "mobile",
    "mob",
    "cell",
    "cellphone",
    "fax",
    "whatsapp",
    "sms",
    "dial",
    "hotline",
    "landline",
    "ring",
    "telefon*",
    "handy",
    "handynummer",
    "rufnummer",
    "mobil*",
    "mobilnummer",
    "durchwahl",
    "tél",
    "téléphone",
    "portable",
    "télécopie",
    "móvil",
    "movil",
    "teléfono",
    "telefono",
    "celular",
    "llámame",
    "llamar",
    "telefone",
    "telemóvel",
    "cellulare",
    "cel",
    "telefoon",
    "mobiel",
    "telefonnr",
    "tlf",
    "puhelin",
    "puh",
    "komórka",
    "kom",
    "telefonu",
    "gsm",
    "cep",
    "тел",
    "телефон*",
    "моб",
    "мобильный",
    "τηλ",
    "τηλέφωνο",
    "κινητό",
    "هاتف",
    "جوال",
    "טלפון",
    "נייד",
    "फ़ोन",
    "फोन",
    "मोबाइल",
    "điện",
    "thoại",
    "sđt",
];
/// The same in scripts without spaces between words.
const UNSPACED: &[&str] = &[
    "電話",
    "电话",
    "手机",
    "手機",
    "携帯",
    "전화",
    "휴대폰",
    "핸드폰",
    "연락처",
    "โทร",
    "เบอร์",
];
const SOCIAL_SECURITY: &[&str] = &["ssn", "social"];
const VERSION: &[&str] = &[
    "v", "version", "versions", "ver", "release", "build", "section", "chapter", "versión", "versione", "firmware",
];

/// Whether a telephone number is announced before this place.
pub(super) fn is_phone(text: &str, at: usize) -> bool {
    let window = window(text, at).to_lowercase();
    is_among(&window, PHONE) || (window.chars().any(is_unspaced) && UNSPACED.iter().any(|word| window.contains(word)))
}

/// Whether a social security number is.
pub(super) fn is_social_security(text: &str, at: usize) -> bool {
    is_among(&window(text, at).to_lowercase(), SOCIAL_SECURITY)
}

/// Whether the word just before is one that a version or a paragraph comes after.
pub(super) fn is_version(text: &str, at: usize) -> bool {
    let window = window(text, at).to_lowercase();
    let last = words(&window).next_back();
    last.is_some_and(|last| VERSION.contains(&last)) || window.trim_end().ends_with('§')
}

fn is_among(window: &str, known: &[&str]) -> bool {
    let is_one = |word: &str| {
        known.iter().any(|known| match known.strip_suffix('*') {
            Some(start) => word.starts_with(start),
            None => *known == word,
        })
    };
    words(window).any(is_one)
}

fn words(window: &str) -> impl DoubleEndedIterator<Item = &str> {
    window.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty())
}

/// What is before a place on the same line, from the last digit on.
fn window(text: &str, at: usize) -> &str {
    let start = text[..at]
        .char_indices()
        .rev()
        .take(WINDOW)
        .take_while(|(_, c)| *c != '\n' && !c.is_ascii_digit())
        .last()
        .map_or(at, |(start, _)| start);
    // A word that is cut is another one.
    let cut = text[..start].chars().next_back().is_some_and(char::is_alphabetic);
    let rest = &text[start..at];
    match cut {
        true => rest.trim_start_matches(|c: char| c.is_alphabetic() && !is_unspaced(c)),
        false => rest,
    }
}
