//! Tests of dialogs with fields.

use ratatui::buffer::Buffer;

use super::*;
use crate::console::theme::Theme;

#[test]
fn a_dialog_that_only_tells_is_closed_and_not_cancelled() {
    let mut form = Form::message("A setting").fact("value", "1");
    assert!(form.tells());
    assert_eq!(form.buttons()[0].1, "Close");
    form.middle = Some("Copy");
    assert_eq!(form.buttons()[0].1, "Close");
    let asks = Form::new("Kill?", "Kill", Vec::new());
    assert!(!asks.tells());
    assert_eq!(asks.buttons()[0].1, "Cancel");
}

#[test]
fn fields_that_do_not_fit_scroll_and_stay_inside_the_box() {
    let area = Rect::new(0, 0, 60, 13);
    let fields = (0..14).map(|i| Field::text("f", &format!("field-{i}"), "", ""));
    let mut form = Form::new("Edit", "Apply", fields.collect()).focus_first();
    let painted = |form: &Form| {
        let mut buffer = Buffer::empty(area);
        let theme = Theme::plain(true, true);
        form.paint(&mut Canvas::new(&mut buffer, theme), area);
        let line = |y| (0..60).map(move |x| (x, y));
        let text = |y| line(y).map(|at| buffer[at].symbol()).collect::<String>();
        (0..13).map(text).collect::<Vec<_>>()
    };
    let lines = painted(&form);
    assert!(lines[0].contains("Edit: 1-10 of 14"), "{lines:#?}");
    assert!(lines[10].contains("field-9"), "{lines:#?}");
    assert!(lines[11].contains("[ Cancel ]"), "{lines:#?}");
    assert!(!lines[12].contains("field"), "{lines:#?}");
    for _ in 0..13 {
        press(&mut form, KeyCode::Tab);
    }
    let lines = painted(&form);
    assert!(lines[0].contains("Edit: 5-14 of 14"), "{lines:#?}");
    assert!(lines[10].contains("field-13"), "{lines:#?}");
}

fn press(form: &mut Form, code: KeyCode) -> FormAnswer {
    form.key(KeyEvent::new(code, KeyModifiers::NONE))
}

#[test]
fn enter_on_a_fresh_dialog_cancels() {
    let mut form = Form::new(
        "Kill?",
        "Kill",
        vec![Field::text("reason", "reason", "", "")],
    );
    assert_eq!(press(&mut form, KeyCode::Enter), FormAnswer::Cancel);
}

#[test]
fn y_confirms_only_when_a_button_has_the_focus_and_the_count_was_typed() {
    let mut form = Form::new("Kill 3?", "Kill 3", vec![Field::typed("type 3", "3")]);
    assert_eq!(press(&mut form, KeyCode::Char('y')), FormAnswer::Stay);
    assert!(form.error.is_some());
    press(&mut form, KeyCode::BackTab);
    press(&mut form, KeyCode::Char('3'));
    assert_eq!(form.value("typed"), "3");
    press(&mut form, KeyCode::Enter);
    assert_eq!(press(&mut form, KeyCode::Char('y')), FormAnswer::Confirm);
}
