//! A table of fields in one place: how a type is shown.

macro_rules! shows {
    ($type:ty, $schema:literal, |$row:ident| $id:expr, {
        $($name:literal $shown:ident $style:ident $value:expr;)*
    }) => {
        impl Shows for $type {
            const SCHEMA: &'static str = $schema;
            const FIELDS: &'static [Field<Self>] =
                &[$(Field::new($name, $shown, $style, |$row| json!($value))),*];

            fn id(&self) -> String {
                let $row = self;
                $id
            }
        }
    };
}

pub(super) use shows;
