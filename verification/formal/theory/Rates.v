(** What the sign and the size of a rate of change say of a function between two points, and of sums of bounds. *)

From Coq Require Import Reals Lra Lia.
From Zetaplan Require Import Sums.
Open Scope R_scope.

Definition rate (f df : R -> R) (a b : R) : Prop := forall x, a <= x <= b -> derivable_pt_lim f x (df x).

Theorem rising f df a b : rate f df a b -> (forall x, a <= x <= b -> 0 <= df x) ->
  forall x y, a <= x -> x <= y -> y <= b -> f x <= f y.
Proof.
  intros D P x y A L B. destruct (Req_dec x y) as [->|N]; [lra|].
  destruct (MVT_cor2 f df x y) as [c [E C]]; [lra|intros c C; apply D; lra|].
  assert (0 <= df c) by (apply P; lra). nra.
Qed.

(** A function whose rate has one sign is least at one end of an interval and largest at the other. *)
Theorem ends_of_one_sign f df a b : rate f df a b ->
  (forall x, a <= x <= b -> 0 <= df x) \/ (forall x, a <= x <= b -> df x <= 0) ->
  forall x, a <= x <= b -> Rmin (f a) (f b) <= f x <= Rmax (f a) (f b).
Proof.
  intros D [P|P] x X.
  - pose proof (rising f df a b D P a x). pose proof (rising f df a b D P x b).
    assert (f a <= f x <= f b) by lra. split; [apply Rle_trans with (f a); [apply Rmin_l|lra]|].
    apply Rle_trans with (f b); [lra|apply Rmax_r].
  - assert (D' : rate (fun x => - f x) (fun x => - df x) a b) by (intros y Y; apply derivable_pt_lim_opp, D, Y).
    assert (P' : forall y, a <= y <= b -> 0 <= - df y) by (intros y Y; specialize (P y Y); lra).
    pose proof (rising _ _ a b D' P' a x) as A. pose proof (rising _ _ a b D' P' x b) as B. cbv beta in A, B.
    assert (f b <= f x <= f a) by lra. split; [apply Rle_trans with (f b); [apply Rmin_r|lra]|].
    apply Rle_trans with (f a); [lra|apply Rmax_l].
Qed.

(** The absolute value of a function that rises is largest at an end. *)
Theorem largest_at_an_end (f : R -> R) a b : (forall x y, a <= x -> x <= y -> y <= b -> f x <= f y) ->
  forall x, a <= x <= b -> Rabs (f x) <= Rmax (Rabs (f a)) (Rabs (f b)).
Proof.
  intros H x X. pose proof (H a x ltac:(lra) ltac:(lra) ltac:(lra)). pose proof (H x b ltac:(lra) ltac:(lra) ltac:(lra)).
  pose proof (Rmax_l (Rabs (f a)) (Rabs (f b))). pose proof (Rmax_r (Rabs (f a)) (Rabs (f b))).
  pose proof (Rle_abs (f b)). pose proof (Rle_abs (- f a)) as A. rewrite Rabs_Ropp in A.
  apply Rabs_le. lra.
Qed.

(** The mean value theorem, as a bound. *)
Theorem rate_bounds f df a b M : rate f df a b -> (forall x, a <= x <= b -> Rabs (df x) <= M) ->
  forall x y, a <= x <= b -> a <= y <= b -> Rabs (f y - f x) <= M * Rabs (y - x).
Proof.
  intros D P.
  assert (up : forall x y, a <= x -> x < y -> y <= b -> Rabs (f y - f x) <= M * Rabs (y - x)).
  { intros x y A L B. destruct (MVT_cor2 f df x y L) as [c [E C]]; [intros c C; apply D; lra|].
    rewrite E, Rabs_mult. apply Rmult_le_compat_r; [apply Rabs_pos|]. apply P. lra. }
  intros x y X Y. destruct (Rtotal_order x y) as [L|[->|L]].
  - apply up; lra.
  - replace (f y - f y) with 0 by ring. replace (y - y) with 0 by ring. rewrite !Rabs_R0. lra.
  - rewrite Rabs_minus_sym, (Rabs_minus_sym y x). apply up; lra.
Qed.

(** Bounds that hold for every direction hold for the sum over all of them. *)
Theorem multiples_add_up K a b low high : (forall k, (k < K)%nat -> low * a k <= b k <= high * a k) ->
  low * sum K a <= sum K b <= high * sum K a.
Proof.
  intro H. rewrite <- !sum_scaled. split; apply sum_le; intros k L; specialize (H k L); lra.
Qed.

(** Jensen's inequality for a function below the tangent at the mean. *)
Theorem jensen K c y (phi : R -> R) middle slope : (forall k, (k < K)%nat -> 0 <= c k) -> sum K c = 1 ->
  sum K (fun k => c k * y k) = middle -> (forall k, (k < K)%nat -> phi (y k) <= phi middle + slope * (y k - middle)) ->
  sum K (fun k => c k * phi (y k)) <= phi middle.
Proof.
  intros P O M T.
  assert (H : sum K (fun k => c k * phi (y k)) <= sum K (fun k => (phi middle - slope * middle) * c k + slope * (c k * y k))).
  { apply sum_le. intros k L. specialize (P k L). specialize (T k L). nra. }
  rewrite sum_plus, !sum_scaled, O, M in H. lra.
Qed.
