/** One check of a decision, as `sidekey explain` shows it. */
export interface Step {
  readonly check:
    | 'authority'
    | 'host'
    | 'placeholder'
    | 'alias'
    | 'plaintext'
    | 'path'
    | 'choice'
    | 'rules'
    | 'limit'
    | 'placement';
  readonly ok: boolean;
  /** One clause for a person: what was found, and where something is refused, what would be allowed. */
  readonly detail: string;
}

export type Trace = (step: Step) => void;
