(** The root of 3 is not a fraction. *)

From Coq Require Import ZArith Znumtheory Lia.
Open Scope Z_scope.

Theorem root_of_three : forall p q, q <> 0 -> p * p <> 3 * (q * q).
Proof.
  enough (H : forall n p q, Z.abs q < n -> 0 <= n -> q <> 0 -> p * p <> 3 * (q * q)).
  { intros p q. apply (H (Z.abs q + 1)); lia. }
  intros n p q L N. revert p q L. pattern n. apply Zlt_0_ind; [|exact N]. clear n N.
  intros n IH N p q L Q E.
  assert (divided : forall a, (3 | a * a) -> (3 | a)) by (intros a D; destruct (prime_mult 3 prime_3 a a D); assumption).
  destruct (divided p) as [r R]; [exists (q * q); lia|]. subst p.
  assert (E' : q * q = 3 * (r * r)) by lia. destruct (divided q) as [s S0]; [exists (r * r); lia|]. subst q.
  apply (IH (Z.abs (s * 3)) ltac:(lia) r s); [lia|lia|lia].
Qed.
