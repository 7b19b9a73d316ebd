(** Lemma 1, for a matrix of any size: the damped quadratic model has one minimiser, and its decrease is half the gain. *)

From Coq Require Import Reals Lra Lia.
From Zetaplan Require Import Sums.
Open Scope R_scope.

Section Model.

Variable K : nat.
Variable H : nat -> nat -> R.
Variables g m : nat -> R.  (** the gradient, and the inverse of the matrix times it *)

Definition inner (a b : nat -> R) : R := sum K (fun k => a k * b k).
Definition times (a : nat -> R) : nat -> R := fun i => sum K (fun j => H i j * a j).
Definition model (d : nat -> R) : R := inner g d + / 2 * inner d (times d).

Hypothesis symmetric : forall i j, H i j = H j i.
Hypothesis definite : forall a, (exists k, (k < K)%nat /\ a k <> 0) -> 0 < inner a (times a).
Hypothesis solves : forall k, (k < K)%nat -> times m k = g k.

Lemma exchanged a b : inner a (times b) = inner b (times a).
Proof.
  unfold inner, times. rewrite (sum_ext K _ (fun i => sum K (fun j => a i * H i j * b j))).
  - rewrite sum_swap. apply sum_ext. intros j _. rewrite <- sum_scaled. apply sum_ext. intros i _.
    rewrite (symmetric j i). ring.
  - intros i _. rewrite <- sum_scaled. apply sum_ext. intros j _. ring.
Qed.

Lemma inner_plus a b c : inner (fun k => a k + b k) c = inner a c + inner b c.
Proof. unfold inner. rewrite <- sum_plus. apply sum_ext. intros k _. ring. Qed.

Lemma times_plus a b k : times (fun k => a k + b k) k = times a k + times b k.
Proof. unfold times. rewrite <- sum_plus. apply sum_ext. intros j _. ring. Qed.

Lemma inner_solved a : inner a (times m) = inner g a.
Proof. unfold inner. apply sum_ext. intros k N. rewrite (solves k N). ring. Qed.

(** The square completed. *)
Theorem square d : model d = / 2 * inner (fun k => d k + m k) (times (fun k => d k + m k)) - / 2 * inner g m.
Proof.
  unfold model. rewrite inner_plus.
  assert (split : forall a, inner a (times (fun k => d k + m k)) = inner a (times d) + inner a (times m)).
  { intro a. unfold inner at 1. rewrite (sum_ext K _ (fun k => a k * times d k + a k * times m k)).
    - rewrite sum_plus. reflexivity.
    - intros k _. rewrite times_plus. ring. }
  rewrite !split, (exchanged m d), !inner_solved. lra.
Qed.

(** The decrease at the minimiser is half the gain. *)
Theorem half_the_gain : model (fun k => - m k) = - (/ 2 * inner g m).
Proof.
  rewrite square. replace (inner (fun k => - m k + m k) (times (fun k => - m k + m k))) with 0; [ring|].
  unfold inner. rewrite (sum_ext K _ (fun _ => 0)); [now rewrite sum_zero|]. intros k _. ring.
Qed.

(** There is no other minimiser. *)
Theorem one_minimiser d : (exists k, (k < K)%nat /\ d k <> - m k) -> model (fun k => - m k) < model d.
Proof.
  intros [k [N D]]. rewrite half_the_gain, square.
  assert (0 < inner (fun k => d k + m k) (times (fun k => d k + m k))); [|lra].
  apply definite. exists k. split; [exact N|lra].
Qed.

Theorem gain_nonnegative : 0 <= inner g m.
Proof.
  rewrite <- inner_solved. destruct (Rle_lt_dec 0 (inner m (times m))) as [L|L]; [exact L|exfalso].
  assert (Z : inner m (times m) = 0).
  { unfold inner. rewrite (sum_ext K _ (fun _ => 0)); [apply sum_zero|]. intros k N.
    destruct (Req_dec (m k) 0) as [E|E]; [rewrite E; ring|]. exfalso.
    pose proof (definite m (ex_intro _ k (conj N E))). lra. }
  lra.
Qed.

End Model.
