//! ClickHouse's calls with two lists, `windowFunnel(3600)(ts, a, b)`: joined into one before the parser sees them.
//!
//! Postgres has no such calls, so that what is joined was never valid there. Only event functions are; the order of
//! their arguments is that of both lists. A token that goes becomes a blank, so that every other one keeps its place.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Whitespace};
use datafusion_funnel::spelling::is_parametric;

/// Turns `name(parameters)(arguments)` into `name(parameters, arguments)`, for every event function.
///
/// Costs one pass over the tokens.
pub fn join_lists(tokens: &mut [TokenWithSpan]) {
    let mut open: Vec<Parenthesis> = Vec::new();
    for at in 0..tokens.len() {
        match tokens[at].token {
            Token::LParen => open.push(Parenthesis {
                at,
                is_parametric: is_parametric_call(tokens, at),
            }),
            Token::RParen => {
                let Some(parenthesis) = open.pop() else {
                    continue;
                };
                if parenthesis.is_parametric && join(tokens, parenthesis.at, at) {
                    // The second list ends where the call does; there is no third.
                    open.push(Parenthesis {
                        is_parametric: false,
                        ..parenthesis
                    });
                }
            }
            Token::SemiColon => open.clear(),
            _ => {}
        }
    }
}

/// A parenthesis that isn't closed yet.
struct Parenthesis {
    at: usize,
    /// It opens the first list of an event function.
    is_parametric: bool,
}

/// Whether an event function's name stands before the parenthesis, rather than a table's:
/// `INSERT INTO window_funnel (a) (SELECT …)` has two lists too.
fn is_parametric_call(tokens: &[TokenWithSpan], parenthesis: usize) -> bool {
    let Some(name_at) = before(tokens, parenthesis) else {
        return false;
    };
    let Token::Word(name) = &tokens[name_at].token else {
        return false;
    };
    let leads = before(tokens, name_at).map(|at| &tokens[at].token);
    let is_table = match leads {
        Some(Token::Period) => true,
        Some(Token::Word(word)) => word.keyword == Keyword::INTO,
        _ => false,
    };
    !is_table && is_parametric(&name.value, name.quote_style.is_some())
}

/// Joins the list that ends at `end` with the one behind it, if there is one.
fn join(tokens: &mut [TokenWithSpan], start: usize, end: usize) -> bool {
    let Some(next) = after(tokens, end).filter(|at| tokens[*at].token == Token::LParen) else {
        return false;
    };
    let is_first_empty = before(tokens, end) == Some(start);
    let is_second_empty = after(tokens, next).is_some_and(|at| tokens[at].token == Token::RParen);
    let blank = Token::Whitespace(Whitespace::Space);
    tokens[end].token = match is_first_empty || is_second_empty {
        true => blank.clone(),
        false => Token::Comma,
    };
    tokens[next].token = blank;
    true
}

fn is_blank(token: &TokenWithSpan) -> bool {
    matches!(token.token, Token::Whitespace(_))
}

/// The last token before `at` that is more than a blank or comment.
fn before(tokens: &[TokenWithSpan], at: usize) -> Option<usize> {
    tokens[..at].iter().rposition(|token| !is_blank(token))
}

/// The first token behind `at` that is more than a blank or comment.
fn after(tokens: &[TokenWithSpan], at: usize) -> Option<usize> {
    let behind = tokens[at + 1..].iter().position(|token| !is_blank(token))?;
    Some(at + 1 + behind)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::tokenizer::Tokenizer;

    use super::*;

    fn joined(sql: &str) -> String {
        let mut tokens = Tokenizer::new(&PostgreSqlDialect {}, sql)
            .tokenize_with_location()
            .unwrap();
        let places: Vec<_> = tokens.iter().map(|token| token.span).collect();
        join_lists(&mut tokens);
        let kept: Vec<_> = tokens.iter().map(|token| token.span).collect();
        assert_eq!(kept, places, "{sql}");
        tokens.iter().map(|token| token.token.to_string()).collect()
    }

    fn check(sql: &str, expected: &str) {
        assert_eq!(joined(sql), expected);
    }

    #[test]
    fn two_lists_are_one() {
        check(
            "SELECT windowFunnel(3600, 'strict_order')(ts, a, b)",
            "SELECT windowFunnel(3600, 'strict_order', ts, a, b)",
        );
        check(
            "select WINDOW_FUNNEL (1)\n (ts) , \"sequenceMatch\"('(?1)')(ts, a)",
            "select WINDOW_FUNNEL (1,\n  ts) , \"sequenceMatch\"('(?1)', ts, a)",
        );
        check("windowFunnelIf(1)(ts, a, c)", "windowFunnelIf(1, ts, a, c)");
        check("windowFunnel()(ts)", "windowFunnel(  ts)");
        check(
            "windowFunnel(1)( /* none */ )",
            "windowFunnel(1   /* none */ )",
        );
    }

    #[test]
    fn parentheses_inside_are_counted_and_those_in_texts_are_not() {
        check(
            "sequenceMatch('(?1))(.*(?2)')(f(g(ts), (h)), (a) AND (b))",
            "sequenceMatch('(?1))(.*(?2)', f(g(ts), (h)), (a) AND (b))",
        );
        check(
            "windowFunnel((1 + (2)))(ts, x = ')(', \")(\" = 1)",
            "windowFunnel((1 + (2)), ts, x = ')(', \")(\" = 1)",
        );
        check(
            "windowFunnel(1 /* )( */) -- )(\n (ts, a)",
            "windowFunnel(1 /* )( */, -- )(\n  ts, a)",
        );
        check("'windowFunnel(1)(ts)'", "'windowFunnel(1)(ts)'");
        check("$$windowFunnel(1)(ts)$$", "$$windowFunnel(1)(ts)$$");
    }

    #[test]
    fn calls_inside_of_calls_are_joined() {
        check(
            "max(windowFunnel(1)(ts, sequenceCount('(?1)')(t, c) > 1, d))",
            "max(windowFunnel(1, ts, sequenceCount('(?1)', t, c) > 1, d))",
        );
        check(
            "windowFunnel(sequenceCount('')(a, b))(ts, (SELECT windowFunnel(2)(t, x)))",
            "windowFunnel(sequenceCount('', a, b), ts, (SELECT windowFunnel(2, t, x)))",
        );
    }

    #[test]
    fn other_texts_are_untouched() {
        for sql in [
            "SELECT quantile(0.9)(x), f(1)(2)",
            "INSERT INTO window_funnel (a) (SELECT 1)",
            "SELECT s.window_funnel(1)(2)",
            "SELECT window_funnel(1, ts, a) FILTER (WHERE b) OVER (PARTITION BY c)",
            "SELECT windowFunnel(1), (2)",
            "SELECT windowFunnel, (1)(2)",
            "SELECT windowFunnel(1",
            "SELECT windowFunnel(1); (2)",
            ") windowFunnel )(",
            "SELECT x IN (1) AND (y)",
            "WITH retention (a) AS (SELECT 1) SELECT retention(a)(b)",
        ] {
            check(sql, sql);
        }
        check("windowFunnel(1)(2)(3)", "windowFunnel(1, 2)(3)");
    }
}
