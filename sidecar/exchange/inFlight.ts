import { Roster, type Seated } from '../roster.ts';

/** Something under way that used an Integration's credential. */
export interface Cuttable extends Seated {
  /** `namespace/name` of the Integration. */
  readonly integration: string;
  /** Ends it at once; what the agent got of it must look cut short. */
  cut(): void;
  /** Ends it if it is a stream that would not begin any more. */
  recheck(): void;
}

/** Everything credentialed that is under way, so that a revocation can end it at once (data path rule 15). */
export class InFlight {
  readonly #members = new Roster<Cuttable>();

  get size(): number {
    return this.#members.size;
  }

  add(member: Cuttable): void {
    this.#members.add(member);
  }

  delete(member: Cuttable): void {
    this.#members.delete(member);
  }

  /** Ends what runs under the Integration. */
  cut(integration: string): void {
    this.#under(integration, (member) => member.cut());
  }

  /** Ends what runs under the Integration and would not begin any more. */
  recheck(integration: string): void {
    this.#under(integration, (member) => member.recheck());
  }

  #under(integration: string, act: (member: Cuttable) => void): void {
    this.#members.visit((member) => {
      if (member.integration === integration) act(member);
    });
  }
}
