//! What the compiler says of mistakes with the attributes. `TRYBUILD=overwrite` writes the texts anew.

#[test]
fn mistakes_with_the_attributes_are_explained_where_they_are() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
