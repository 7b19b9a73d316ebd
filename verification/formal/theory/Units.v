(** Whole units at equal costs: taking the unit with the largest benefit, again and again, is optimal. *)

From Coq Require Import Reals Lra Lia Arith.
From Zetaplan Require Import Sums.
Open Scope R_scope.

Section Units.

Variable K : nat.
Variable benefit : nat -> nat -> R.  (** of one more unit of layer k on top of j *)
Variables floor cap : nat -> nat.

Hypothesis benefits_fall : forall k j, benefit k (S j) <= benefit k j.

Definition units := nat -> nat.
Definition value (n : units) : R := sum K (fun k => sum (n k) (benefit k)).
Definition count (n : units) : R := sum K (fun k => INR (n k)).
Definition in_box (n : units) : Prop := forall k, (k < K)%nat -> (floor k <= n k <= cap k)%nat.

(** The layer below [m] whose next unit has the largest benefit, of those that may have one more. *)
Fixpoint best (m : nat) (n : units) : option nat :=
  match m with
  | O => None
  | S k =>
      if n k <? cap k then
        match best k n with
        | Some i => if Rlt_dec (benefit i (n i)) (benefit k (n k)) then Some k else Some i
        | None => Some k
        end
      else best k n
  end%nat.

Definition more (n : units) (k : nat) : units := fun i => if Nat.eqb i k then S (n i) else n i.

(** At most [N] more units; it stops where no unit has a benefit. *)
Fixpoint greedy (N : nat) (n : units) : units :=
  match N with
  | O => n
  | S N =>
      match best K n with
      | Some k => if Rle_dec (benefit k (n k)) 0 then n else greedy N (more n k)
      | None => n
      end
  end.

Lemma best_spec n m : match best m n with
  | Some k => (k < m)%nat /\ (n k < cap k)%nat /\
      forall i, (i < m)%nat -> (n i < cap i)%nat -> benefit i (n i) <= benefit k (n k)
  | None => forall i, (i < m)%nat -> ~ (n i < cap i)%nat
  end.
Proof.
  induction m as [|m IH]; cbn [best]; [intros i L; lia|]. destruct (Nat.ltb_spec (n m) (cap m)) as [C|C].
  - revert IH. destruct (best m n) as [i|]; intro IH.
    + destruct IH as (A & B & H). destruct (Rlt_dec _ _) as [L|L].
      * split; [lia|split; [exact C|]]. intros j J D. destruct (Nat.eq_dec j m) as [->|E]; [lra|].
        specialize (H j ltac:(lia) D). lra.
      * split; [lia|split; [exact B|]]. intros j J D. destruct (Nat.eq_dec j m) as [->|E]; [lra|].
        apply H; [lia|exact D].
    + split; [lia|split; [exact C|]]. intros j J D. destruct (Nat.eq_dec j m) as [->|E]; [lra|].
      exfalso. apply (IH j); [lia|exact D].
  - revert IH. destruct (best m n) as [i|]; intro IH.
    + destruct IH as (A & B & H). split; [lia|split; [exact B|]]. intros j J D.
      apply H; [|exact D]. destruct (Nat.eq_dec j m) as [->|E]; lia.
    + intros j J D. destruct (Nat.eq_dec j m) as [->|E]; [lia|]. apply (IH j); [lia|exact D].
Qed.

(** Every unit taken has a benefit, and at least that of every possible next one. *)
Definition sorted (n : units) : Prop := forall k j, (k < K)%nat -> (floor k <= j < n k)%nat ->
  0 < benefit k j /\ forall i, (i < K)%nat -> (n i < cap i)%nat -> benefit i (n i) <= benefit k j.

(** Where greedy stops: all units are used, or no possible next unit has a benefit. *)
Definition done (N : nat) (start n : units) : Prop :=
  count n = count start + INR N \/ forall i, (i < K)%nat -> (n i < cap i)%nat -> benefit i (n i) <= 0.

Lemma count_more n k : (k < K)%nat -> count (more n k) = count n + 1.
Proof.
  unfold count, more. induction K as [|m IH]; intro L; [lia|]. cbn [sum].
  destruct (Nat.eqb_spec m k) as [->|E].
  - rewrite S_INR. rewrite (sum_ext k _ (fun i => INR (n i))); [lra|].
    intros i I. destruct (Nat.eqb_spec i k); [lia|reflexivity].
  - rewrite IH by lia. lra.
Qed.

Theorem greedy_spec N : forall n, in_box n -> sorted n ->
  in_box (greedy N n) /\ sorted (greedy N n) /\ done N n (greedy N n).
Proof.
  induction N as [|N IH]; intros n B S0; cbn [greedy].
  - split; [exact B|split; [exact S0|]]. left. cbn. lra.
  - pose proof (best_spec n K) as H. destruct (best K n) as [k|].
    + destruct H as (A & C & H). destruct (Rle_dec (benefit k (n k)) 0) as [Z|P].
      * split; [exact B|split; [exact S0|]]. right. intros i I D. specialize (H i I D). lra.
      * destruct (IH (more n k)) as (B' & S' & D').
        -- intros i I. specialize (B i I). unfold more. destruct (Nat.eqb_spec i k) as [->|]; lia.
        -- intros i j I J. unfold more in *.
           assert (next : forall l, (l < K)%nat -> ((if Nat.eqb l k then S (n l) else n l) < cap l)%nat ->
             (n l < cap l)%nat /\ benefit l (if Nat.eqb l k then S (n l) else n l) <= benefit l (n l)).
           { intros l L D. destruct (Nat.eqb_spec l k) as [->|]; [split; [lia|apply benefits_fall]|split; [lia|lra]]. }
           destruct (Nat.eqb_spec i k) as [->|E].
           ++ destruct (Nat.eq_dec j (n k)) as [->|F].
              ** split; [lra|]. intros l L D. destruct (next l L D) as [D' M]. specialize (H l L D'). lra.
              ** destruct (S0 k j I ltac:(lia)) as [P0 M0]. split; [exact P0|]. intros l L D.
                 destruct (next l L D) as [D' M]. specialize (M0 l L D'). lra.
           ++ destruct (S0 i j I J) as [P0 M0]. split; [exact P0|]. intros l L D.
              destruct (next l L D) as [D' M]. specialize (M0 l L D'). lra.
        -- split; [exact B'|split; [exact S'|]]. destruct D' as [D'|D']; [left|right; exact D'].
           rewrite D', count_more by exact A. rewrite S_INR. lra.
    + split; [exact B|split; [exact S0|]]. right. intros i I D. exfalso. exact (H i I D).
Qed.

Lemma at_most_each f theta a b : (a <= b)%nat -> (forall j, (a <= j < b)%nat -> f j <= theta) ->
  sum b f - sum a f <= theta * (INR b - INR a).
Proof.
  intros L. induction L as [|b L IH]; intro H; [lra|]. cbn [sum]. rewrite S_INR.
  assert (f b <= theta) by (apply H; lia). assert (sum b f - sum a f <= theta * (INR b - INR a)) by (apply IH; intros; apply H; lia).
  lra.
Qed.

Lemma at_least_each f theta a b : (a <= b)%nat -> (forall j, (a <= j < b)%nat -> theta <= f j) ->
  theta * (INR b - INR a) <= sum b f - sum a f.
Proof.
  intros L. induction L as [|b L IH]; intro H; [lra|]. cbn [sum]. rewrite S_INR.
  assert (theta <= f b) by (apply H; lia). assert (theta * (INR b - INR a) <= sum b f - sum a f) by (apply IH; intros; apply H; lia).
  lra.
Qed.

Lemma fall j : forall k i, (i <= j)%nat -> benefit k j <= benefit k i.
Proof. intros k i L. induction L as [|j L IH]; [lra|]. pose proof (benefits_fall k j). lra. Qed.

(** The multiplier of the whole units. *)
Theorem threshold N n : sorted n -> done N floor n -> exists theta, 0 <= theta /\
  (theta = 0 \/ count n = count floor + INR N) /\
  (forall k j, (k < K)%nat -> (floor k <= j < n k)%nat -> theta <= benefit k j) /\
  (forall i, (i < K)%nat -> (n i < cap i)%nat -> benefit i (n i) <= theta).
Proof.
  intros S0 [D|D].
  - pose proof (best_spec n K) as H. destruct (best K n) as [k|].
    + destruct H as (A & C & H). exists (Rmax 0 (benefit k (n k))).
      split; [apply Rmax_l|split; [auto|split]].
      * intros i j I J. destruct (S0 i j I J) as [P M]. apply Rmax_lub; [lra|auto].
      * intros i I J. apply Rle_trans with (benefit k (n k)); [auto|apply Rmax_r].
    + exists 0. split; [lra|split; [auto|split]].
      * intros i j I J. destruct (S0 i j I J) as [P M]. lra.
      * intros i I J. exfalso. exact (H i I J).
  - exists 0. split; [lra|split; [auto|split; [|exact D]]].
    intros i j I J. destruct (S0 i j I J) as [P M]. lra.
Qed.

Theorem greedy_optimal N y : (forall k, (k < K)%nat -> (floor k <= cap k)%nat) -> in_box y ->
  count y <= count floor + INR N -> value y <= value (greedy N floor).
Proof.
  intros F Y C. destruct (greedy_spec N floor) as (B & S0 & D).
  { intros k L. specialize (F k L). lia. }
  { intros k j _ J. lia. }
  set (n := greedy N floor) in *. destruct (threshold N n S0 D) as (theta & P & Z & T & X).
  assert (H : value y - value n <= theta * (count y - count n)).
  { unfold value, count. rewrite <- !sum_minus, <- sum_scaled. apply sum_le. intros k L.
    specialize (Y k L). specialize (B k L). destruct (Nat.le_gt_cases (n k) (y k)) as [G|G].
    - apply at_most_each; [exact G|]. intros j J. apply Rle_trans with (benefit k (n k)); [apply fall; lia|].
      apply X; [exact L|lia].
    - enough (theta * (INR (n k) - INR (y k)) <= sum (n k) (benefit k) - sum (y k) (benefit k)) by lra.
      apply at_least_each; [lia|]. intros j J. apply T; [exact L|lia]. }
  destruct Z as [Z|Z]; [rewrite Z in H; lra|]. rewrite Z in H. nra.
Qed.

End Units.
