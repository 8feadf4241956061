import { Composer, type Document, isAlias, isMap, isScalar, Lexer, LineCounter, type Node, Parser, visit } from 'yaml';

/** Bounds that keep the time and memory of one file small, whatever is in it. */
const LEXEMES_LIMIT = 450_000;
const DOCUMENTS_LIMIT = 5_000;
const DEPTH_LIMIT = 64;
const ALIASES_LIMIT = 100;

const OPTIONS = {
  strict: true,
  version: '1.2',
  schema: 'core',
  merge: false,
  resolveKnownTags: false,
  stringKeys: true,
  // Checked here instead, in linear time.
  uniqueKeys: false,
  prettyErrors: false,
  logLevel: 'silent',
} as const;

export type Path = readonly PropertyKey[];

/** One document of a file as plain data, and where its parts stand. */
export interface YamlDocument {
  value: unknown;
  /** Line (from 1) of the value at `path`, or of the nearest parent that is there; of the key itself with `key`. */
  lineOf(path: Path, key?: string): number;
}

/** What is wrong with the text itself. */
export interface YamlProblem {
  line: number;
  message: string;
}

/**
 * Reads a file of YAML 1.2 documents: no duplicate keys, no custom tags, bounded aliases and depth. Never throws.
 *
 * With a problem, `documents` holds nothing: half a file is not a state that anybody asked for.
 */
export function readYamlDocuments(text: string): { documents: YamlDocument[]; problem?: YamlProblem } {
  const lines = new LineCounter();
  try {
    const documents: YamlDocument[] = [];
    for (const document of compose(text, lines)) {
      const read = readDocument(document, lines);
      if (read !== undefined) documents.push(read);
    }
    return { documents };
  } catch (error) {
    return { documents: [], problem: problemOf(error) };
  }
}

class Refused extends Error {
  readonly line: number;

  constructor(line: number, message: string) {
    super(message);
    this.line = line;
  }
}

/** The library's own composition, driven lexeme by lexeme so that it can be stopped. */
function* compose(text: string, lines: LineCounter): Generator<Document.Parsed> {
  const parser = new Parser(lines.addNewLine);
  const composer = new Composer({ ...OPTIONS, lineCounter: lines });
  const here = () => Math.max(1, lines.lineStarts.length);
  lines.addNewLine(0);
  let lexemes = 0;
  let documents = 0;
  const counted = function* (all: Iterable<Document.Parsed>) {
    for (const document of all) {
      documents += 1;
      if (documents > DOCUMENTS_LIMIT) throw new Refused(here(), `the file has more than ${DOCUMENTS_LIMIT} documents`);
      yield document;
    }
  };
  for (const lexeme of new Lexer().lex(text)) {
    lexemes += 1;
    if (lexemes > LEXEMES_LIMIT) throw new Refused(here(), 'the file has too many parts; split it');
    for (const token of parser.next(lexeme)) {
      // Not gathered: there can be as many as bytes.
      if (token.type === 'error') throw new Refused(lines.linePos(token.offset).line, explain('UNEXPECTED_TOKEN'));
      yield* counted(composer.next(token));
    }
    if (parser.stack.length > DEPTH_LIMIT) throw new Refused(here(), 'the document is nested too deeply');
  }
  for (const token of parser.end()) yield* counted(composer.next(token));
  yield* counted(composer.end());
  const [error] = composer.streamInfo().errors;
  if (documents === 0 && error !== undefined) throw new Refused(here(), explain(error.code));
}

function readDocument(document: Document.Parsed, lines: LineCounter): YamlDocument | undefined {
  const lineAt = (offset: number | undefined) => Math.max(1, lines.linePos(offset ?? 0).line);
  const [error] = [...document.errors, ...document.warnings];
  if (error !== undefined) throw new Refused(lineAt(error.pos[0]), explain(error.code));
  const { version } = document.directives.yaml;
  if (version !== '1.2') throw new Refused(lineAt(document.range[0]), `expected YAML 1.2, not ${version}`);
  if (document.contents === null || (isScalar(document.contents) && document.contents.value === null)) return undefined;
  check(document, lineAt);
  const value: unknown = document.toJS({ maxAliasCount: ALIASES_LIMIT });
  return { value, lineOf: (path, key) => lineAt(offsetOf(document, path, key)) };
}

/** Duplicate keys and too many aliases. */
function check(document: Document.Parsed, lineAt: (offset: number | undefined) => number): void {
  let aliases = 0;
  visit(document, {
    Alias: (_key, node) => {
      aliases += 1;
      if (aliases > ALIASES_LIMIT)
        throw new Refused(lineAt(node.range?.[0]), `the document has more than ${ALIASES_LIMIT} aliases`);
    },
    Map: (_key, map) => {
      const seen = new Set<unknown>();
      for (const { key } of map.items) {
        const name = isScalar(key) ? key.value : key;
        if (seen.has(name))
          throw new Refused(lineAt((key as Node).range?.[0]), `the key ${quote(name)} is there twice; keep one`);
        seen.add(name);
      }
    },
  });
}

function quote(name: unknown): string {
  return JSON.stringify(String(name).slice(0, 64));
}

function offsetOf(document: Document.Parsed, path: Path, key: string | undefined): number | undefined {
  let node: unknown = document.contents;
  let offset = document.contents?.range?.[0];
  const steps = key === undefined ? path : [...path, key];
  for (const [index, step] of steps.entries()) {
    if (isAlias(node)) node = node.resolve(document);
    if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === String(step));
      if (pair === undefined) return offset;
      offset = (pair.key as Node).range?.[0] ?? offset;
      node = pair.value;
    } else {
      const items = (node as { items?: unknown[] } | null)?.items;
      node = items?.[Number(step)];
      if (node === undefined) return offset;
    }
    const last = index === steps.length - 1;
    const range = (node as Node | null)?.range;
    // A block map or list starts on the line after its key; the key is what a person looks for.
    if (range != null && !(last && isMap(node)) && !(last && key !== undefined) && isScalar(node)) offset = range[0];
    else if (range != null && typeof step === 'number') offset = range[0];
  }
  return offset;
}

function problemOf(error: unknown): YamlProblem {
  if (error instanceof Refused) return { line: error.line, message: error.message };
  if (error instanceof RangeError) return { line: 1, message: 'the document is nested too deeply' };
  // Of toJS: aliases without an anchor, or that stand for too much.
  if (error instanceof ReferenceError) {
    const excessive = error.message.includes('Excessive');
    return {
      line: 1,
      message: excessive
        ? 'the aliases stand for too much'
        : 'an alias (*name) stands before or without its anchor (&name)',
    };
  }
  return { line: 1, message: 'the file is no YAML that can be read' };
}

/** The library's messages may quote the text, which may hold a secret: what is said is ours, by its code. */
const MESSAGES: Readonly<Record<string, string>> = {
  ALIAS_PROPS: 'an alias cannot have an anchor or a tag',
  BAD_ALIAS: 'an alias (*name) is not well formed; put the value in quotes if it starts with *',
  BAD_COLLECTION_TYPE: 'custom tags (!name) are not taken',
  BAD_DIRECTIVE: 'this directive (%…) is not taken',
  BAD_DQ_ESCAPE: 'a backslash in double quotes starts no escape that YAML knows; use single quotes',
  BAD_INDENT: 'the indentation does not fit what is above',
  BAD_PROP_ORDER: 'anchors and tags must come before the indicator',
  BAD_SCALAR_START:
    'a value starts with a character that YAML keeps for itself (such as @, `, % or *); put it in quotes',
  BLOCK_AS_IMPLICIT_KEY:
    'a nested map or list starts on the line of another key; a value that holds ": " must be in quotes',
  BLOCK_IN_FLOW: 'a block value cannot stand within brackets',
  DUPLICATE_KEY: 'a key is there twice; keep one',
  IMPOSSIBLE: 'the file is no YAML that can be read',
  KEY_OVER_1024_CHARS: 'a key is longer than 1024 characters',
  MISSING_CHAR: 'something is missing here: a colon, quote, bracket, comma or space',
  MULTILINE_IMPLICIT_KEY: 'a key goes over several lines; is a colon or a quote missing?',
  MULTIPLE_ANCHORS: 'a value has two anchors',
  MULTIPLE_DOCS: 'documents are separated by a line ---',
  MULTIPLE_TAGS: 'a value has two tags',
  NON_STRING_KEY: 'keys must be strings',
  RESOURCE_EXHAUSTION: 'the document is nested too deeply',
  TAB_AS_INDENT: 'a tab is used as indentation; use spaces',
  TAG_RESOLVE_FAILED: 'custom tags (!name) are not taken',
  UNEXPECTED_TOKEN: 'this is not expected here; are quotes missing, or is the indentation off?',
};

function explain(code: string): string {
  return `not valid YAML: ${MESSAGES[code] ?? 'it cannot be read from here on'}`;
}
