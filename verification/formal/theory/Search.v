(** A search that leaves the piece it has solved ends; and the least vertex of a lower hull. *)

From Coq Require Import Reals List Lra Lia.
Import ListNotations.

Section Pieces.

(** A bracket is the range of the pieces a to b - 1. A step solves a piece in it, and ends or gives a smaller bracket. *)
Variable piece : nat -> nat -> nat.
Variable step : nat -> nat -> option (nat * nat).

Hypothesis piece_inside : forall a b, a < b -> a <= piece a b < b.
Hypothesis piece_left : forall a b a' b', a < b -> step a b = Some (a', b') ->
  a <= a' /\ a' < b' /\ b' <= b /\ (b' <= piece a b \/ piece a b < a').

(** The pieces that are solved in at most [n] steps, and whether the search has ended. *)
Fixpoint solved (n a b : nat) : list nat :=
  match n with
  | O => []
  | S n => piece a b :: match step a b with Some (a', b') => solved n a' b' | None => [] end
  end.

Fixpoint ended (n a b : nat) : Prop :=
  match n with
  | O => False
  | S n => match step a b with Some (a', b') => ended n a' b' | None => True end
  end.

Lemma solved_inside n : forall a b, a < b -> forall k, In k (solved n a b) -> a <= k < b.
Proof.
  induction n as [|n IH]; intros a b L k I; [contradiction|]. destruct I as [<-|I]; [auto|].
  destruct (step a b) as [[a' b']|] eqn:E; [|contradiction].
  destruct (piece_left a b a' b' L E) as (A & M & B & _). specialize (IH a' b' M k I). lia.
Qed.

(** No piece is solved twice. *)
Theorem no_piece_twice n : forall a b, a < b -> NoDup (solved n a b).
Proof.
  induction n as [|n IH]; intros a b L; cbn; constructor.
  - destruct (step a b) as [[a' b']|] eqn:E; [|auto]. intro I.
    destruct (piece_left a b a' b' L E) as (_ & M & _ & O). pose proof (solved_inside n a' b' M _ I). lia.
  - destruct (step a b) as [[a' b']|] eqn:E; [|constructor]. apply IH. now destruct (piece_left a b a' b' L E).
Qed.

(** The search ends after at most as many steps as there are pieces. *)
Theorem search_ends n : forall a b, a < b -> b - a <= n -> ended n a b.
Proof.
  induction n as [|n IH]; intros a b L C; [lia|]. cbn. destruct (step a b) as [[a' b']|] eqn:E; [|exact I].
  pose proof (piece_inside a b L). destruct (piece_left a b a' b' L E) as (A & M & B & O). apply IH; lia.
Qed.

End Pieces.

Open Scope R_scope.

(** Costs rise along a hull of n steps, and the rate of every step is at most that of the one before it. At a multiplier
    between the rates before and after a vertex this vertex is the least one. *)
Theorem least_vertex n (cost loss : nat -> R) (rate : nat -> R) multiplier v : (v <= n)%nat ->
  (forall j, (j < n)%nat -> cost j < cost (S j) /\ loss j - loss (S j) = rate j * (cost (S j) - cost j)) ->
  (forall i j, (i <= j < n)%nat -> rate j <= rate i) ->
  (forall i, S i = v -> multiplier <= rate i) -> ((v < n)%nat -> rate v <= multiplier) ->
  forall j, (j <= n)%nat -> loss v + multiplier * cost v <= loss j + multiplier * cost j.
Proof.
  intros V H F B A.
  assert (up : forall d, (v + d <= n)%nat -> loss v + multiplier * cost v <= loss (v + d)%nat + multiplier * cost (v + d)%nat).
  { induction d as [|d IH]; intro L; [rewrite Nat.add_0_r; lra|]. specialize (IH ltac:(lia)).
    destruct (H (v + d)%nat ltac:(lia)) as [C E]. pose proof (F v (v + d)%nat ltac:(lia)). specialize (A ltac:(lia)).
    replace (v + S d)%nat with (S (v + d)) by lia. nra. }
  assert (down : forall d, (d <= v)%nat -> loss v + multiplier * cost v <= loss (v - d)%nat + multiplier * cost (v - d)%nat).
  { induction d as [|d IH]; intro L; [rewrite Nat.sub_0_r; lra|]. specialize (IH ltac:(lia)).
    set (j := (v - S d)%nat) in *. destruct (H j ltac:(lia)) as [C E]. pose proof (F j (v - 1)%nat ltac:(lia)).
    specialize (B (v - 1)%nat ltac:(lia)). replace (v - d)%nat with (S j) in IH by lia. nra. }
  intros j J. destruct (Nat.le_gt_cases v j) as [G|G].
  - replace j with (v + (j - v))%nat by lia. apply up. lia.
  - replace j with (v - (v - j))%nat by lia. apply down. lia.
Qed.
