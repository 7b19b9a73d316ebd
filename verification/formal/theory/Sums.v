(** Sums of real numbers over any number of layers. *)

From Coq Require Import Reals Lra Lia.
Open Scope R_scope.

Fixpoint sum (K : nat) (f : nat -> R) : R :=
  match K with O => 0 | S k => sum k f + f k end.

Lemma sum_ext K f g : (forall k, (k < K)%nat -> f k = g k) -> sum K f = sum K g.
Proof. induction K as [|K IH]; intro H; cbn; [reflexivity|]. rewrite H, IH; auto. Qed.

Lemma sum_le K f g : (forall k, (k < K)%nat -> f k <= g k) -> sum K f <= sum K g.
Proof. induction K as [|K IH]; intro H; cbn; [lra|]. apply Rplus_le_compat; auto. Qed.

Lemma sum_plus K f g : sum K (fun k => f k + g k) = sum K f + sum K g.
Proof. induction K as [|K IH]; cbn; [ring|]. rewrite IH. ring. Qed.

Lemma sum_minus K f g : sum K (fun k => f k - g k) = sum K f - sum K g.
Proof. induction K as [|K IH]; cbn; [ring|]. rewrite IH. ring. Qed.

Lemma sum_scaled K a f : sum K (fun k => a * f k) = a * sum K f.
Proof. induction K as [|K IH]; cbn; [ring|]. rewrite IH. ring. Qed.

Lemma sum_zero K : sum K (fun _ => 0) = 0.
Proof. induction K as [|K IH]; cbn; [ring|]. rewrite IH. ring. Qed.

Lemma sum_nonneg K f : (forall k, (k < K)%nat -> 0 <= f k) -> 0 <= sum K f.
Proof. intro H. rewrite <- (sum_zero K). now apply sum_le. Qed.

(** Terms of at least 0 whose sum is at most 0 are all 0. *)
Lemma sum_each_zero K f : (forall k, (k < K)%nat -> 0 <= f k) -> sum K f <= 0 -> forall k, (k < K)%nat -> f k = 0.
Proof.
  induction K as [|K IH]; intros H L k N; [lia|]. cbn in L.
  assert (0 <= sum K f) by (apply sum_nonneg; auto). assert (0 <= f K) by auto.
  destruct (Nat.eq_dec k K) as [->|D]; [lra|]. apply IH; auto; [lra|lia].
Qed.

Lemma sum_one_positive K f j : (forall k, (k < K)%nat -> 0 <= f k) -> (j < K)%nat -> 0 < f j -> 0 < sum K f.
Proof.
  intros H N P. destruct (Rlt_le_dec 0 (sum K f)) as [L|L]; [exact L|].
  pose proof (sum_each_zero K f H L j N). lra.
Qed.

Theorem sum_line K u p r : sum K (fun k => p k * u + r k) = u * sum K p + sum K r.
Proof.
  rewrite sum_plus, <- sum_scaled. f_equal. apply sum_ext. intros k _. ring.
Qed.

Lemma sum_swap K L (f : nat -> nat -> R) :
  sum K (fun i => sum L (fun j => f i j)) = sum L (fun j => sum K (fun i => f i j)).
Proof.
  induction K as [|K IH]; cbn; [now rewrite sum_zero|]. now rewrite IH, <- sum_plus.
Qed.

Lemma sum_square_zero K f : sum K (fun k => f k ^ 2) <= 0 -> forall k, (k < K)%nat -> f k = 0.
Proof.
  intros H k N. assert (Z : f k ^ 2 = 0).
  { apply (sum_each_zero K (fun k => f k ^ 2)); auto. intros. apply pow2_ge_0. }
  replace (f k ^ 2) with (f k * f k) in Z by ring. apply Rmult_integral in Z. tauto.
Qed.

Theorem cauchy_schwarz K a b :
  sum K (fun k => a k * b k) ^ 2 <= sum K (fun k => a k ^ 2) * sum K (fun k => b k ^ 2).
Proof.
  set (A := sum K (fun k => a k ^ 2)). set (B := sum K (fun k => b k ^ 2)). set (C := sum K (fun k => a k * b k)).
  assert (H : forall t, 0 <= A - 2 * t * C + t ^ 2 * B).
  { intro t. unfold A, B, C. rewrite <- !sum_scaled, <- sum_minus, <- sum_plus. apply sum_nonneg.
    intros k _. pose proof (pow2_ge_0 (a k - t * b k)). lra. }
  assert (PB : 0 <= B) by (apply sum_nonneg; intros; apply pow2_ge_0).
  destruct (Rle_lt_dec B 0) as [Z|P].
  - assert (E : C = 0).
    { unfold C. rewrite <- (sum_zero K). apply sum_ext. intros k N. rewrite (sum_square_zero K b Z k N). ring. }
    rewrite E. specialize (H 0). nra.
  - specialize (H (C / B)). replace (A - 2 * (C / B) * C + (C / B) ^ 2 * B) with (A - C ^ 2 / B) in H by (field; lra).
    apply (Rmult_le_reg_r (/ B)); [now apply Rinv_0_lt_compat|].
    replace (A * B * / B) with A by (field; lra). unfold Rdiv in H. lra.
Qed.
