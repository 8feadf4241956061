import type { Grant } from '../../api/grant.ts';

type Rule = Grant['rules'][number];
type PathMatch = NonNullable<Rule['paths']>[number];

const SHOWN_RULES_LIMIT = 6;
const SHOWN_PATH_LIMIT = 200;

/** The rules of one Integration, made ready to ask. */
export interface CompiledRules {
  /** Whether any rule is about paths, so that paths must be free of ambiguity. */
  readonly hasPaths: boolean;
  /** Whether any rule is about methods. */
  readonly hasMethods: boolean;
  allows(method: string, path: string): boolean;
  /** Number of the rule that decides, as `allows` decides, counted from 1; undefined where none matches. */
  deciding(method: string, path: string): number | undefined;
  /** Length of the longest path by which a rule allows the request; 0 without. */
  specificity(method: string, path: string): number;
  /** Why it is allowed or not, and what would be: a clause for people and agents. */
  why(method: string, path: string): string;
}

/** A Deny that matches wins; with at least one Allow, all else is denied; without rules everything is allowed. */
export function compileRules(rules: readonly Rule[]): CompiledRules {
  return new Rules(rules.map(compileRule));
}

interface CompiledRule {
  /** From 1, as a person counts them in the YAML. */
  readonly number: number;
  readonly action: Rule['action'];
  readonly methods: ReadonlySet<string> | undefined;
  readonly paths: readonly PathMatch[] | undefined;
}

function compileRule(rule: Rule, index: number): CompiledRule {
  const methods = rule.methods === undefined ? undefined : new Set<string>(rule.methods);
  return { number: index + 1, action: rule.action, methods, paths: rule.paths };
}

class Rules implements CompiledRules {
  readonly hasPaths: boolean;
  readonly hasMethods: boolean;
  readonly #allow: readonly CompiledRule[];
  readonly #deny: readonly CompiledRule[];

  constructor(rules: readonly CompiledRule[]) {
    this.hasPaths = rules.some((rule) => rule.paths !== undefined);
    this.hasMethods = rules.some((rule) => rule.methods !== undefined);
    this.#allow = rules.filter((rule) => rule.action === 'Allow');
    this.#deny = rules.filter((rule) => rule.action === 'Deny');
  }

  allows(method: string, path: string): boolean {
    if (this.#allow.length === 0 && this.#deny.length === 0) return true;
    const readings = this.hasPaths ? readingsOf(path) : [path];
    return (
      this.#denying(method, readings) === undefined &&
      (this.#allow.length === 0 ||
        readings.every((reading) => this.#allow.some((rule) => matches(rule, method, reading))))
    );
  }

  deciding(method: string, path: string): number | undefined {
    if (this.#allow.length === 0 && this.#deny.length === 0) return undefined;
    const readings = this.hasPaths ? readingsOf(path) : [path];
    const rule =
      this.#denying(method, readings) ??
      this.#allow.find((allowing) => readings.every((reading) => matches(allowing, method, reading)));
    return rule?.number;
  }

  specificity(method: string, path: string): number {
    let longest = 0;
    for (const rule of this.#allow) {
      if (rule.paths === undefined || rule.methods?.has(method) === false) continue;
      for (const match of rule.paths) {
        if (match.value.length > longest && pathMatches(match, path)) longest = match.value.length;
      }
    }
    return longest;
  }

  why(method: string, path: string): string {
    if (this.#allow.length === 0 && this.#deny.length === 0) return 'without rules everything is allowed';
    const request = `${method} ${path.length <= SHOWN_PATH_LIMIT ? path : `${path.slice(0, SHOWN_PATH_LIMIT)}…`}`;
    const denying = this.#denying(method, readingsOf(path));
    if (denying !== undefined) return `${described(denying)}, so ${request} is denied; ${this.#remaining()}`;
    if (this.#allow.length === 0) return `no Deny rule matches ${request}, and all else is allowed`;
    const allowing = this.#allow.find((rule) => matches(rule, method, path));
    return allowing !== undefined && this.allows(method, path)
      ? described(allowing)
      : `${request} matches no Allow rule; ${this.#remaining()}`;
  }

  #denying(method: string, readings: readonly string[]): CompiledRule | undefined {
    return this.#deny.find((rule) => readings.some((reading) => matches(rule, method, reading)));
  }

  #remaining(): string {
    if (this.#allow.length === 0) return 'all that no rule denies is allowed';
    const shown = this.#allow.slice(0, SHOWN_RULES_LIMIT).map(described).join(', ');
    const more = this.#allow.length - SHOWN_RULES_LIMIT;
    return more > 0 ? `${shown}, and ${more} more rules allow others` : shown;
  }
}

/**
 * The path, and what a reader makes of it that decodes reserved characters or drops parameters: `/v1/%40me;x` may be `/v1/@me`.
 * A Deny counts if any of them matches, an Allow only if it matches all, so that no spelling gets around a rule.
 */
function readingsOf(path: string): readonly string[] {
  if (!path.includes('%') && !path.includes(';')) return [path];
  const decoded = path.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return [...new Set([path, decoded, withoutParameters(path), withoutParameters(decoded)])];
}

function withoutParameters(path: string): string {
  const semicolon = path.indexOf(';', path.lastIndexOf('/'));
  return semicolon === -1 ? path : path.slice(0, semicolon);
}

function matches(rule: CompiledRule, method: string, path: string): boolean {
  if (rule.methods?.has(method) === false) return false;
  return rule.paths === undefined || rule.paths.some((match) => pathMatches(match, path));
}

/** A prefix ends at the border of a segment: `/v1` covers `/v1` and `/v1/x`, not `/v10`; `/v1/` what starts with it. */
function pathMatches({ type, value }: PathMatch, path: string): boolean {
  if (type === 'Exact') return path === value;
  return (
    path.startsWith(value) &&
    (path.length === value.length || value.endsWith('/') || path.charCodeAt(value.length) === 0x2f) /* / */
  );
}

function described({ number, action, methods, paths }: CompiledRule): string {
  const verb = action === 'Allow' ? 'allows' : 'denies';
  const which = methods === undefined ? 'every method' : [...methods].join(', ');
  return `rule ${number} ${verb} ${which}${paths === undefined ? '' : ` ${paths.map(describedPath).join(' or ')}`}`;
}

function describedPath({ type, value }: PathMatch): string {
  return type === 'Exact' ? `at exactly ${value}` : `under ${value}`;
}
