//! The bundled font, and how wide text is in it.

use std::sync::OnceLock;

use ab_glyph::{Font, FontRef};

/// The bundled font's name. In an SVG it is what a browser falls back from.
pub const FONT: &str = "DejaVu Sans, sans-serif";
/// DejaVu Sans, a subset; licence beside it.
pub(super) static FONT_BYTES: &[u8] = include_bytes!("../../assets/DejaVuSans-subset.ttf");

/// Width of a text of one line in pixels, at a size in pixels. What falls back from this font is no wider as a rule: few
/// fonts are as wide as DejaVu Sans.
pub fn text_width(text: &str, size: f64) -> f64 {
    static PARSED: OnceLock<Option<FontRef<'static>>> = OnceLock::new();
    let font = PARSED.get_or_init(|| FontRef::try_from_slice(FONT_BYTES).ok());
    let Some((font, units)) = font.as_ref().and_then(|font| Some((font, font.units_per_em()?))) else {
        return size * 0.7 * text.chars().count() as f64;
    };
    let advance = |letter| f64::from(font.h_advance_unscaled(font.glyph_id(letter)));
    text.chars().map(advance).sum::<f64>() * size / f64::from(units)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_as_wide_as_its_letters() {
        assert_eq!(text_width("", 12.0), 0.0);
        let (narrow, wide) = (text_width("ill", 12.0), text_width("WMW", 12.0));
        assert!(narrow * 2.0 < wide, "{narrow} and {wide}");
        let sum = text_width("a", 12.0) + text_width("b", 12.0);
        assert!((text_width("ab", 12.0) - sum).abs() < 1e-9);
        assert!((text_width("ab", 24.0) - 2.0 * sum).abs() < 1e-9);
        // 0.636 of the size, as the font's own table has it.
        assert!((text_width("0", 100.0) - 63.6).abs() < 0.1);
    }
}
