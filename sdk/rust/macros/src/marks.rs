//! The attributes of methods. `plexspaces_handlers` reads them and leaves each in place with a mark in it, so that the compiler still
//! resolves the name that the author imported; one without the mark stands where nobody collects it.

use proc_macro2::{Ident, TokenStream};
use quote::{quote, quote_spanned};
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Attribute, Error, LitStr, Meta, Token};

const COLLECTED: &str = "__collected";

/// What one attribute of a method means.
pub(crate) enum Mark {
    Init,
    Run,
    Signal(LitStr),
    Query(LitStr),
    Handler { operation: LitStr, kind: Option<&'static str> },
}

/// An expanded attribute: nothing is left of one that was collected.
pub(crate) fn leave(name: &str, arguments: TokenStream, item: TokenStream) -> TokenStream {
    if arguments.to_string() == COLLECTED {
        return item;
    }
    let message = format!("#[{name}] belongs on a method of an `impl` block with #[plexspaces_handlers]");
    let error = Error::new(arguments.span(), message).to_compile_error();
    quote!(#error #item)
}

/// Reads an attribute and marks it as collected; `None` for one of somebody else.
pub(crate) fn take(attribute: &mut Attribute) -> Result<Option<Mark>, Error> {
    let Some(last) = attribute.path().segments.last() else { return Ok(None) };
    let mark = match last.ident.to_string().as_str() {
        "init_handler" => plain(attribute).map(|()| Mark::Init),
        "run_handler" => plain(attribute).map(|()| Mark::Run),
        "signal_handler" => named(attribute).map(Mark::Signal),
        "query_handler" => named(attribute).map(Mark::Query),
        "handler" => handler(attribute),
        _ => return Ok(None),
    }?;
    let path = attribute.path().clone();
    let collected = Ident::new(COLLECTED, attribute.span());
    let tokens = quote_spanned!(attribute.span()=> #path(#collected));
    attribute.meta = syn::parse2(tokens)?;
    Ok(Some(mark))
}

fn plain(attribute: &Attribute) -> Result<(), Error> {
    match &attribute.meta {
        Meta::Path(_) => Ok(()),
        other => Err(Error::new_spanned(other, "expected no arguments")),
    }
}

fn named(attribute: &Attribute) -> Result<LitStr, Error> {
    let wanted = "expected the name as one string, such as (\"cancel\")";
    let name: LitStr = attribute.parse_args().map_err(|error| Error::new(error.span(), wanted))?;
    if name.value().is_empty() { Err(Error::new(name.span(), "the name is empty")) } else { Ok(name) }
}

/// `("op")`, `("op", "cast")`, `("op", cast)`; the second may also be a call or be given by name.
struct Arguments {
    operation: LitStr,
    kind: Option<Word>,
}

struct Word {
    text: String,
    span: proc_macro2::Span,
}

impl Parse for Word {
    fn parse(input: ParseStream<'_>) -> Result<Self, Error> {
        if input.peek(LitStr) {
            let text: LitStr = input.parse()?;
            return Ok(Self { text: text.value(), span: text.span() });
        }
        let word: Ident = input.parse()?;
        if matches!(word.to_string().as_str(), "kind" | "mode") && input.peek(Token![=]) {
            input.parse::<Token![=]>()?;
            return input.parse();
        }
        Ok(Self { text: word.to_string(), span: word.span() })
    }
}

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> Result<Self, Error> {
        let operation = input.parse()?;
        let mut kind = None;
        if input.parse::<Option<Token![,]>>()?.is_some() && !input.is_empty() {
            kind = Some(input.parse()?);
        }
        Punctuated::<Word, Token![,]>::parse_terminated(input)?
            .into_iter()
            .next()
            .map_or(Ok(()), |word| Err(Error::new(word.span, "expected at most an operation and its kind")))?;
        Ok(Self { operation, kind })
    }
}

fn handler(attribute: &Attribute) -> Result<Mark, Error> {
    let wanted = "expected the operation as a string, such as #[handler(\"increment\")]";
    let Meta::List(list) = &attribute.meta else { return Err(Error::new_spanned(&attribute.meta, wanted)) };
    if list.tokens.is_empty() {
        return Err(Error::new_spanned(&attribute.meta, wanted));
    }
    let Arguments { operation, kind } = list.parse_args()?;
    if operation.value().is_empty() {
        return Err(Error::new(operation.span(), "the operation is empty"));
    }
    let kind = match kind.as_ref().map(|kind| kind.text.as_str()) {
        None => None,
        Some("call") => Some("Call"),
        Some("cast") => Some("Cast"),
        Some(other) => {
            let span = kind.as_ref().map_or_else(|| operation.span(), |kind| kind.span);
            return Err(Error::new(span, format!("unknown kind {other:?}, expected \"call\" or \"cast\"")));
        }
    };
    Ok(Mark::Handler { operation, kind })
}
